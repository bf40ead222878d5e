"""Makes a checkout ready to run: virtual environment, packages, front-end files, translations.

Needs Python 3.11 with venv and the package registries, nothing else. Every step leaves a stamp with the
hash of its inputs, so a second run does nothing and says so; delete .venv to begin again.

    python3 scripts/bootstrap.py            what the portal needs to run
    python3 scripts/bootstrap.py --tests    and what its tests and checks need
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "portal-stamps.json"
VENDOR = ROOT / "static" / "vendor"
TRANSLATIONS = ROOT / "portal" / "translations"
OLDEST_NODE = 18


class SetupFailed(Exception):
    """A step failed; the message says which one and what to do."""


class Stamps:
    """Which inputs each step last finished with."""

    def __init__(self) -> None:
        self.changed = False
        try:
            self._stamps: dict[str, str] = json.loads(STAMPS.read_text())
        except (OSError, ValueError):
            self._stamps = {}

    def holds(self, step: str, inputs: str, outputs: Iterable[Path] = ()) -> bool:
        """Whether the step finished with exactly these inputs and its outputs are still there."""
        return self._stamps.get(step) == inputs and all(path.exists() for path in outputs)

    def write(self, step: str, inputs: str) -> None:
        """Note that the step finished; written at once, so an interrupted run goes on where it stopped."""
        self.changed = True
        self._stamps[step] = inputs
        temporary = STAMPS.with_suffix(".new")
        temporary.write_text(json.dumps(self._stamps, indent=1))
        temporary.replace(STAMPS)


def main() -> None:
    """Run the steps that are due, one process at a time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tests", action="store_true", help="also install what tests and checks need")
    arguments = parser.parse_args()
    # Two set-ups at once would install over each other; the second waits, then finds nothing to do.
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            changed = set_up(with_tests=arguments.tests)
        except SetupFailed as error:
            sys.exit(f"Set-up stopped: {error}")
    say("Set-up is done." if changed else "Set-up is up to date.")


def set_up(*, with_tests: bool) -> bool:
    """Do what is due, in order; answers whether anything was. Raises SetupFailed."""
    made = make_venv()
    stamps = Stamps()
    install("requirements.txt", stamps)
    if with_tests:
        install("requirements-test.txt", stamps)
    build_assets(stamps)
    compile_translations(stamps)
    return made or stamps.changed


def make_venv() -> bool:
    """Make .venv, or make it anew when it was copied from elsewhere or its Python is gone."""
    home = VENV / "portal-home"
    if PYTHON.exists() and home.exists() and home.read_text() == str(ROOT):
        return False
    if (
        PYTHON.exists()
        and not home.exists()
        and runs([PYTHON, "-c", f"import sys; sys.exit(sys.prefix != {str(VENV)!r})"])
    ):
        home.write_text(str(ROOT))
        return False
    with step(f"Making .venv with Python {sys.version_info.major}.{sys.version_info.minor}"):
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            venv.create(VENV, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SetupFailed(
                f"could not make a virtual environment ({error}). On Debian and Ubuntu it needs:"
                " apt-get install python3-venv"
            ) from error
        home.write_text(str(ROOT))
    return True


def install(requirements: str, stamps: Stamps) -> None:
    """Install a locked requirements file: every package at its pinned version, checked by hash."""
    inputs = digest([ROOT / requirements])
    if stamps.holds(requirements, inputs):
        return
    installer = find_installer(stamps)
    with step(f"Installing packages ({requirements})"):
        run([*installer, "--require-hashes", "-r", ROOT / requirements], f"installing {requirements}")
    stamps.write(requirements, inputs)


def find_installer(stamps: Stamps) -> list[str | Path]:
    """The uv of the environment, installed when it can be had; else pip, which does the same more slowly."""
    pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    uv = VENV / "bin" / "uv"
    lock = ROOT / "scripts" / "uv.txt"
    if not stamps.holds("uv", digest([lock]), [uv]):
        with contextlib.suppress(SetupFailed), step("Installing uv"):
            run([*pip, "--require-hashes", "-r", lock], "installing uv")
        if not uv.exists():
            say("  uv cannot be had here; pip installs the packages, which takes some minutes.")
            return pip
        stamps.write("uv", digest([lock]))
    # Compiled at once: where Python may not write bytecode, every process would compile every package as it starts.
    return [uv, "pip", "install", "-q", "--compile-bytecode", "--python", PYTHON]


def build_assets(stamps: Stamps) -> None:
    """Build static/vendor from the pinned npm packages."""
    npm_inputs = digest([ROOT / "package.json", ROOT / "package-lock.json"])
    inputs = digest([ROOT / "package.json", ROOT / "package-lock.json", *sorted((ROOT / "assets").glob("*"))])
    if stamps.holds("assets", inputs, vendor_files()):
        return
    node, environment = find_node(stamps)
    if not stamps.holds("npm", npm_inputs, [ROOT / "node_modules" / ".package-lock.json"]):
        with step("Installing the front-end packages (package-lock.json)"):
            run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"],
                "installing the front-end packages",
                environment,
            )
        stamps.write("npm", npm_inputs)
    with step("Building static/vendor"):
        run([node, ROOT / "assets" / "build.mjs"], "building static/vendor", environment)
    stamps.write("assets", inputs)


def vendor_files() -> list[Path]:
    """The files that the last build of static/vendor promised."""
    manifest = VENDOR / "manifest.json"
    try:
        return [manifest, *(VENDOR / name for name in json.loads(manifest.read_text()))]
    except (OSError, ValueError):
        return [manifest]


def find_node(stamps: Stamps) -> tuple[str, dict[str, str]]:
    """A node new enough, with its npm: from the PATH, else installed into the environment."""
    path = os.environ.get("PATH", os.defpath)
    if not node_works(path):
        path = f"{VENV / 'bin'}{os.pathsep}{path}"
        lock = ROOT / "scripts" / "node.txt"
        if not stamps.holds("node", digest([lock])) or not node_works(path):
            say(f"There is no node {OLDEST_NODE} or newer with npm on the PATH; taking one from the pinned package.")
            with step("Installing node"):
                run([*find_installer(stamps), "--require-hashes", "-r", lock], "installing node")
            stamps.write("node", digest([lock]))
    node = shutil.which("node", path=path)
    if node is None:
        raise SetupFailed(f"node {OLDEST_NODE} or newer is needed to build the front-end files")
    return node, {**os.environ, "PATH": path}


def node_works(path: str) -> bool:
    """Whether this PATH leads to npm and to a node that is new enough."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None:
        return False
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    version = re.match(r"v(\d+)\.", done.stdout)
    return version is not None and int(version[1]) >= OLDEST_NODE


def compile_translations(stamps: Stamps) -> None:
    """Compile every language's .po file next to itself."""
    sources = sorted(TRANSLATIONS.glob("*/LC_MESSAGES/*.po"))
    inputs = digest(sources)
    if not sources or stamps.holds("translations", inputs, [path.with_suffix(".mo") for path in sources]):
        return
    with step("Compiling translations"):
        for source in sources:
            run(
                [PYTHON, "-m", "babel.messages.frontend", "compile", "-i", source, "-o", source.with_suffix(".mo"),
                 "-l", source.parent.parent.name],
                f"compiling {source.relative_to(ROOT)}",
            )  # fmt: skip
    stamps.write("translations", inputs)


def digest(paths: Iterable[Path]) -> str:
    """One hash over the names and bytes of files. Raises SetupFailed when one is missing."""
    result = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SetupFailed(f"{path} cannot be read: {error.strerror}") from error
        result.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
        result.update(content)
    return result.hexdigest()


def run(command: list[str | Path], what: str, environment: dict[str, str] | None = None) -> None:
    """Run a program quietly; its output is shown only when it fails. Raises SetupFailed."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise SetupFailed(f"{what}: {command[0]} cannot be started ({error.strerror})") from error
    if done.returncode:
        raise SetupFailed(f"{what} failed (exit code {done.returncode}).\n{done.stdout.rstrip()}")


def runs(command: list[str | Path]) -> bool:
    """Whether a program starts and ends well."""
    try:
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)


class step:  # noqa: N801  # reads as a verb in "with step(...)"
    """Says what is being done, and how long it took."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __enter__(self) -> None:
        self._began = time.monotonic()
        print(f"{self._title} ... ", end="", flush=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        print(f"{time.monotonic() - self._began:.1f} s" if kind is None else "failed", flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # an older Python must hear why, not see a traceback
        sys.exit(f"The portal needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    main()
