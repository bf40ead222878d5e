"""A PayU to click: `python -m tests.fakes.payu --port 12112` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.payu", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", help="instead of the notifyUrl that each order names")
    parser.add_argument("--algorithm", default="MD5", help="what notifications are signed with")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    fake = FakePayU(webhook_url=options.webhook_url, port=options.port)
    fake.control.set_webhooks(algorithm=options.algorithm)
    with fake:
        print(f"fake PayU on {fake.url}, notifications to {options.webhook_url or 'the notifyUrl of each order'}")
        print("Start the portal with:", flush=True)
        print(f"  PAYU_API_URL={fake.url} PAYU_MERCHANT_ID={POS_ID} PAYU_SECRET_KEY={CLIENT_SECRET} \\", flush=True)
        print(f"  PAYU_WEBHOOK_SECRET={SECOND_KEY} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
