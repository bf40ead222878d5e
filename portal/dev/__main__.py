"""`python -m portal.dev`: what `make run` starts once the checkout is set up."""

import argparse
import os
import sys
from pathlib import Path

from portal.dev.launcher import ROOT, Launcher


def main() -> int:
    """Read the command line and run the portal until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m portal.dev", description="Run the portal with demo data.")
    parser.add_argument("--port", type=_port, default=8000, help="of the portal (default: 8000)")
    parser.add_argument("--sites-port", type=_port, default=8001, help="of the hosted sites (default: 8001)")
    parser.add_argument("--data", type=Path, default=ROOT / "var", help="where everything is kept (default: var/)")
    arguments = parser.parse_args()
    if arguments.port == arguments.sites_port:
        parser.error("the portal and the hosted sites need two different ports")
    return Launcher(
        data=arguments.data.resolve(),
        port=arguments.port,
        sites_port=arguments.sites_port,
        given=dict(os.environ),
    ).run()


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port between 1 and 65535")
    return number


if __name__ == "__main__":
    sys.exit(main())
