"""Strangers' files are read in a child that may die; whoever asked gets an answer in any case."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portal.quotes.measuring import isolation, measure, png
from portal.quotes.measuring.answer_schema import is_answer
from portal.quotes.measuring.isolation import (
    extract_thumbnail,
    measure_isolated,
    render_picture,
    write_viewer_mesh,
)
from portal.quotes.measuring.limits import ENVIRONMENT, MIB, Limits
from tests.quotes.measuring import models


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.3mf"
    path.write_bytes(models.package())
    return path


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes seconds and much memory: a million triangles, the same one over and over."""
    path = tmp_path_factory.mktemp("models") / "heavy.stl"
    one = models.binary_stl()[84:]
    with path.open("wb") as file:
        file.write(b" " * 80 + struct.pack("<I", 12 * 120_000))
        for _ in range(120):
            file.write(one * 1_000)
    return path


def children() -> set[int]:
    """What the warm process has forked and not buried."""
    assert isolation._warm is not None
    listed = Path(f"/proc/{isolation._warm.process.pid}/task/{isolation._warm.process.pid}/children").read_text()
    return {int(pid) for pid in listed.split()}


def no_children() -> bool:
    """Whether all children are gone, within a moment."""
    deadline = time.monotonic() + 5
    while children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not children()


def open_files(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_the_child_says_what_measure_says(cube: Path) -> None:
    assert measure_isolated(cube) == json.loads(json.dumps(measure(cube)))
    assert no_children()


def test_the_name_tells_the_type_and_the_customer_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "8f14e45f"
    path.write_bytes(models.binary_stl())
    assert measure_isolated(path)["code"] == "wrong_type"
    assert measure_isolated(path, name="Part.STL")["bbox_mm"] == [20, 20, 20]
    inches = measure_isolated(path, name="Part.STL", unit="inch")
    assert (inches["bbox_mm"], inches["unit"]) == ([508, 508, 508], "inch")


@pytest.mark.parametrize(
    "limits",
    [Limits(memory_bytes=160 * MIB), Limits(cpu_seconds=0), Limits(wall_seconds=0.02)],
    ids=["memory", "cpu", "wall"],
)
def test_a_child_that_meets_a_limit_leaves_the_file_to_a_person(limits: Limits, heavy: Path, cube: Path) -> None:
    answer = measure_isolated(heavy, limits=limits)
    assert (answer["outcome"], answer["code"]) == ("manual", "internal")
    assert is_answer(answer)
    assert no_children()
    assert measure_isolated(cube)["outcome"] == "accept"


def test_a_child_is_killed_as_soon_as_nobody_waits_for_it(heavy: Path) -> None:
    with isolation._connect() as connection:
        request = {"task": "measure", "name": "x.stl", "unit": None, "limits": Limits().as_dict()}
        with heavy.open("rb") as file:
            isolation.socket.send_fds(connection, [json.dumps(request).encode()], [file.fileno()])
        while not children():
            time.sleep(0.001)
    assert no_children()


def in_a_fork(act: Callable[[], Any]) -> int:
    """How a forked process ends that does something: the exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        status = 9
        os.closerange(3, 4096)  # What the tests' own process holds open does not count.
        try:
            act()
            status = 0
        except OSError as error:
            status = 50 + (error.errno or 0) % 50
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def bound(act: Callable[[], Any]) -> Callable[[], Any]:
    """The same under the limits."""

    def run() -> None:
        Limits().apply()
        act()

    return run


def test_the_limits_hold_for_files_and_descriptors_too(tmp_path: Path) -> None:
    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        (tmp_path / "written").write_bytes(b"x")

    def open_many() -> None:
        for _ in range(64):
            os.open("/dev/null", os.O_RDONLY)

    assert in_a_fork(write) == in_a_fork(open_many) == 0
    assert in_a_fork(bound(write)) == -signal.SIGXFSZ
    assert in_a_fork(bound(open_many)) == 50 + 24
    assert in_a_fork(bound(lambda: None)) == 0


def test_the_child_knows_no_secret_and_no_web_framework(monkeypatch: pytest.MonkeyPatch, cube: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    monkeypatch.setattr(isolation, "_warm", None)
    assert measure_isolated(cube)["outcome"] == "accept"
    warm = isolation._warm
    assert warm is not None
    folder = Path(f"/proc/{warm.process.pid}")
    found = (folder / "environ").read_text().rstrip("\0").split("\0")
    assert dict(entry.split("=", 1) for entry in found) == ENVIRONMENT
    loaded = (folder / "maps").read_text()
    assert "numpy" in loaded
    assert "sqlalchemy" not in loaded
    warm.end()
    assert not folder.exists()


def test_who_only_asks_carries_no_numpy() -> None:
    """A web server names this module; its memory is counted."""
    code = (
        "import sys, types; portal = types.ModuleType('portal'); portal.__path__ = [sys.argv[1]];"
        "sys.modules['portal'] = portal; import portal.quotes.measuring.isolation; print('numpy' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(isolation._PACKAGE)]
    assert subprocess.check_output(command, text=True).strip() == "False"


def test_a_warm_process_that_died_is_started_again(monkeypatch: pytest.MonkeyPatch, cube: Path) -> None:
    monkeypatch.setattr(isolation, "_warm", None)
    isolation.warm_up()
    first = isolation._warm
    assert first is not None
    first.process.kill()
    first.process.wait()
    assert measure_isolated(cube)["outcome"] == "accept"
    second = isolation._warm
    assert second is not None
    assert second.process.pid != first.process.pid
    second.end()


def test_a_forked_process_asks_the_same_warm_process_and_leaves_nothing_behind(cube: Path) -> None:
    """As the work-horse of a queue does."""
    isolation.warm_up()
    assert isolation._warm is not None
    before = isolation._warm.process.pid

    def ask() -> None:
        if measure_isolated(cube)["outcome"] != "accept" or isolation._warm is None:
            raise OSError(1, "no answer")
        if isolation._warm.process.pid != before:
            raise OSError(2, "another warm process")

    assert in_a_fork(ask) == 0
    assert measure_isolated(cube)["outcome"] == "accept"
    assert isolation._warm.process.pid == before


def test_no_descriptor_is_left_open(cube: Path, heavy: Path) -> None:
    isolation.warm_up()
    assert isolation._warm is not None
    theirs = isolation._warm.process.pid
    measure_isolated(cube)
    assert no_children()
    time.sleep(0.05)
    before, before_theirs = open_files(), open_files(theirs)
    for _ in range(5):
        measure_isolated(cube)
        measure_isolated(heavy, limits=Limits(wall_seconds=0.01))
        measure_isolated(cube.parent / "missing.stl")
        measure_isolated(cube.parent)
    assert no_children()
    time.sleep(0.05)
    assert open_files() == before
    assert open_files(theirs) == before_theirs


def test_at_most_two_files_are_measured_at_once(cube: Path, heavy: Path) -> None:
    isolation.warm_up()
    most = 0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_over.is_set():
            most = max(most, len(children()))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    askers = [
        threading.Thread(target=measure_isolated, args=(heavy,), kwargs={"limits": Limits(wall_seconds=0.4)})
        for _ in range(5)
    ]
    watcher.start()
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    is_over.set()
    watcher.join()
    assert most == 2
    assert measure_isolated(cube)["outcome"] == "accept"


def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.stl")
    assert measure_isolated(tmp_path / "pipe.stl")["code"] == "internal"


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "fine"}, {"code": "nonsense"}, {"codes": "x"}, {"message": None}, {"volume_mm3": -1.0},
        {"volume_mm3": "1"}, {"bbox_mm": [1, 2]}, {"watertight": 1}, {"triangles": 1.5}, {"area_mm2": float("inf")},
        {"walls_mm": ["x"]}, {"problems": []}, {"thumbnail": 3}, {"codes": ["too_big"]},
    ],
)  # fmt: skip
def test_an_odd_answer_is_not_believed(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cube.stl"
    path.write_bytes(models.binary_stl(models.moved(models.CUBE, scale=0.05)))
    answer = measure(path)
    assert is_answer(answer)
    assert not is_answer({**answer, **change})


@pytest.fixture
def odd_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[bytes]], None]]:
    """A warm process that says what the test wants."""
    ours, theirs = isolation.socket.socketpair(isolation.socket.AF_UNIX, isolation.socket.SOCK_SEQPACKET)

    def say(messages: list[bytes]) -> None:
        monkeypatch.setattr(isolation, "_connect", lambda: ours)
        for message in messages:
            theirs.send(message)
        theirs.shutdown(isolation.socket.SHUT_WR)

    yield say
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "messages",
    [
        [], [b"J{}"],
        [b"J[]"], [b"Jnull"], [b'J{"outcome": NaN}'], [b"Jnot json"], [b"Z"], [b"Bxx"], [b'X{"status": -9}'],
        [b"J" + b"x" * (64 * 1024 + 1)],
    ],
)  # fmt: skip
def test_whatever_the_child_says_the_caller_gets_a_verdict(
    messages: list[bytes], odd_server: Callable[[list[bytes]], None], cube: Path
) -> None:
    odd_server(messages)
    assert measure_isolated(cube)["code"] == "internal"


def test_the_viewer_gets_everything_on_the_plate_in_millimetres(tmp_path: Path) -> None:
    items = ('objectid="1"', 'objectid="1" transform="-1 0 0 0 1 0 0 0 1 60 0 0"')
    path = tmp_path / "plate.3mf"
    path.write_bytes(models.package(models.model_xml(items=items, attributes='unit="centimeter"')))
    out = io.BytesIO()
    assert write_viewer_mesh(path, out)
    written = tmp_path / "plate.stl"
    written.write_bytes(out.getvalue())
    said, shown = measure(path), measure(written)
    for key in ("bbox_mm", "triangles", "shells", "watertight", "outcome"):
        assert shown[key] == said[key]
    assert shown["volume_mm3"] == pytest.approx(said["volume_mm3"]) == pytest.approx(2 * 200**3)


def test_a_mesh_for_the_viewer_is_not_larger_than_asked_for(cube: Path) -> None:
    assert not write_viewer_mesh(cube, io.BytesIO(), most_bytes=683)
    assert write_viewer_mesh(cube, io.BytesIO(), most_bytes=684)
    cube.write_bytes(b"no model")
    assert not write_viewer_mesh(cube, io.BytesIO())
    assert no_children()


def test_a_model_without_a_picture_gets_one_drawn(cube: Path) -> None:
    assert extract_thumbnail(cube) is None
    picture = render_picture(cube)
    assert picture is not None
    assert picture.startswith(png.SIGNATURE)
    assert render_picture(cube.parent / "missing.3mf") is None


def test_the_command_prints_a_line_a_file(app: Flask, cube: Path, tmp_path: Path) -> None:
    stl = tmp_path / "cube.stl"
    stl.write_bytes(models.binary_stl())
    result = app.test_cli_runner().invoke(
        args=["measure", "--unit", "cm", str(cube), str(stl), str(tmp_path / "none.obj")]
    )
    assert result.exit_code == 0
    first, second, third = map(json.loads, result.output.splitlines())
    assert (first["file"], first["outcome"], first["bbox_mm"]) == ("cube.3mf", "accept", [20, 20, 20])
    assert second["bbox_mm"] == [200, 200, 200]
    assert (third["outcome"], third["code"]) == ("manual", "internal")


def test_a_large_model_needs_little_memory(tmp_path: Path) -> None:
    """300,000 triangles in an address space that 160 MiB of libraries and interpreter already half fill."""
    points, faces = models.torus(300_000)
    path = tmp_path / "ring.3mf"
    path.write_bytes(
        models.package(models.model_xml(models.object_xml(models.mesh_xml(points.tolist(), faces.tolist()))))
    )
    answer = measure_isolated(path, limits=Limits(memory_bytes=400 * MIB))
    assert answer["outcome"] == "accept", answer
    assert answer["triangles"] == len(faces)
