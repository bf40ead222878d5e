"""A Recurrente to click: `python -m tests.fakes.recurrente --port 12112` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.recurrente import PUBLIC_KEY, SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.fakes.standard_webhooks import GAPS


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.recurrente", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/webhooks/recurrente")
    parser.add_argument("--webhooks", action="store_true", help="send webhooks, which test mode really does not")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with FakeRecurrente(options.webhook_url, port=options.port) as fake:
        if options.webhooks:
            fake.set_webhooks(gaps=GAPS)
        print(f"fake Recurrente on {fake.world.url}, webhooks to {options.webhook_url}", flush=True)
        print("Start the portal with:", flush=True)
        print(f"  RECURRENTE_API_URL={fake.api_url} RECURRENTE_SECRET_KEY={SECRET_KEY} \\", flush=True)
        print(f"  RECURRENTE_PUBLIC_KEY={PUBLIC_KEY} RECURRENTE_WEBHOOK_SECRET={WEBHOOK_SECRET} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
