"""Resolves the requirement files again: requirements*.txt with hashes, package-lock.json without addresses."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Some packages need others on an older Python only: what is locked has to do for all that the portal runs on.
OLDEST_PYTHON = "3.11"
LOCKED = ("requirements", "requirements-test", "scripts/uv", "scripts/node")


def main() -> None:
    """Resolve each file; packages keep their versions unless --upgrade is given or an .in file asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args().upgrade
    uv = ROOT / ".venv" / "bin" / "uv"
    if not uv.exists():
        sys.exit("uv could not be installed into .venv, and resolving needs it.")
    for name in LOCKED:
        run(
            str(uv), "pip", "compile", "-q", f"{name}.in", "-o", f"{name}.txt", "--generate-hashes",
            "--no-emit-index-url", "--no-header", "--universal", "--python-version", OLDEST_PYTHON,
            *(["--upgrade"] if upgrade else []),
        )  # fmt: skip
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not on the PATH; package-lock.json was left as it is.")
    # The registry's addresses stay out of the lock (.npmrc); the integrity hashes say what is right.
    run(npm, "update" if upgrade else "install", "--package-lock-only", "--ignore-scripts")


def run(*command: str) -> None:
    """Run one resolver and stop at its first failure."""
    print("  " + " ".join(Path(part).name if part.startswith("/") else part for part in command), flush=True)
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
