"""An editor service to try: `python -m tests.fakes.editor --port 12114` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.editor import API_KEY, MODEL, FakeEditor


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.editor", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with FakeEditor(port=options.port) as fake:
        print(f'fake editor on {fake.url}; it understands: replace "this" with "that"', flush=True)
        print("Start the portal with:", flush=True)
        print(f"  EDITOR_API_URL={fake.url} EDITOR_API_KEY={API_KEY} EDITOR_API_MODEL={MODEL} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
