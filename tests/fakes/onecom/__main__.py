"""A shop to click: `python -m tests.fakes.onecom --port 12113` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.onecom import WEBHOOK_SECRET, OneComShop
from tests.fakes.standard_webhooks import GAPS


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.onecom", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/webhooks/onecom")
    parser.add_argument("--only-reference", action="store_true", help="messages that do not say the amount")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    shop = OneComShop(options.webhook_url, port=options.port, says_amounts=not options.only_reference)
    with shop:
        shop.set_webhooks(gaps=GAPS)
        print(f"a shop at One.com on {shop.url}, messages to {options.webhook_url}", flush=True)
        print("Start the portal with:", flush=True)
        print(f"  ONECOM_CHECKOUT_URL='{shop.link}' \\", flush=True)
        print(f"  ONECOM_WEBHOOK_SECRET={WEBHOOK_SECRET} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
