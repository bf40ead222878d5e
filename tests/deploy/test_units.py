"""deploy/systemd: systemd itself finds nothing wrong with the units, and the web service survives a crash."""

import subprocess
import sys
from pathlib import Path

from tests.deploy.test_nginx import ROOT, replaced, web_command
from tests.servers import processes, redis

UNITS = ROOT / "deploy" / "systemd"


def lines(unit: str, name: str) -> list[str]:
    """The values of one setting of a unit."""
    return [line.removeprefix(name) for line in (UNITS / unit).read_text().splitlines() if line.startswith(name)]


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    # A link without a space in its path, which a unit would have to quote.
    (tmp_path / "portal").symlink_to(ROOT)
    units = tmp_path / "units"
    units.mkdir()
    for unit in UNITS.iterdir():
        text = unit.read_text()
        if unit.suffix == ".service":
            text = replaced(text, {"/opt/portal/.venv": f"{tmp_path}/portal/.venv"})
            text = text.replace("User=portal", "User=root").replace("Group=portal", "Group=root")
        (units / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(str(path) for path in units.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if str(units) in line or "portal" in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_units_name_programs_and_files_that_exist() -> None:
    for unit in UNITS.glob("*.service"):
        [command] = lines(unit.name, "ExecStart=")
        words = command.split()
        assert words[0] == "/opt/portal/.venv/bin/python"
        for word in words[1:]:
            if word.endswith(".py"):
                assert (ROOT / word.removeprefix("/opt/portal/")).is_file(), word


def test_the_portal_runs_by_the_units_own_commands(tmp_path: Path) -> None:
    """Everything else starts its parts in forks of a process that has imported the portal already."""
    with redis.running() as queue:
        environment = processes.clean_environment(
            PORTAL_ENV="testing", REDIS_URL=queue.url, DATABASE_URL=f"sqlite:///{tmp_path / 'portal.db'}",
            STORAGE_URL=f"file://{tmp_path / 'storage'}", SECRET_KEY="a-secret-for-tests-only-0123456789abcdef",
        )  # fmt: skip

        def command(unit: str) -> list[str]:
            [line] = lines(unit, "ExecStart=")
            return line.replace("/opt/portal/.venv/bin/python", sys.executable).split()

        subprocess.run(command("portal-migrate.service"), check=True, env=environment, cwd=ROOT)
        path = tmp_path / "web.sock"
        commands = {"web": web_command(path, "wsgi:app"), "worker": command("portal-worker.service")}
        ready = {
            "web": lambda: processes.answers_over(path),
            "worker": lambda: "worker_started" in (tmp_path / "worker").read_text(),
        }
        for name, words in commands.items():
            log = tmp_path / name
            part = processes.start(words, log=log, environment=environment, cwd=ROOT, death_signal=15)
            try:
                processes.wait_for_server(part, ready[name], seconds=60, what=name, log=log)
                processes.stop(part, seconds=30)
            finally:
                processes.kill(part)
            assert part.returncode == 0, log.read_text()


def test_the_web_service_starts_again_after_a_crash(tmp_path: Path) -> None:
    path, log = tmp_path / "web.sock", tmp_path / "web.log"
    for _ in range(2):
        for command in lines("portal-web.service", "ExecStartPre="):
            subprocess.run(command.replace("/run/portal", str(tmp_path)).split(), check=True)
        web = processes.start(
            web_command(path, "tests.deploy.echo:app"),
            log=log,
            environment=processes.clean_environment(),
            cwd=ROOT,
            death_signal=15,
        )
        try:
            processes.wait_for_server(web, lambda: processes.answers_over(path), what="granian", log=log)
        finally:
            processes.kill(web)
        assert path.exists()  # What the crash left behind, for the next round.
