"""An EasyPost to click: `python -m tests.fakes.easypost --port 12113` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.easypost import API_KEY, WEBHOOK_SECRET, FakeEasyPost


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.easypost", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/webhooks/easypost")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with FakeEasyPost(options.webhook_url, port=options.port) as fake:
        fake.set_webhooks(gaps=(5.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0))
        print(f"fake EasyPost on {fake.world.url}, webhooks to {options.webhook_url}", flush=True)
        print("Open that address to move parcels. Start the portal with:", flush=True)
        print(f"  EASYPOST_API_BASE={fake.api_base} EASYPOST_API_KEY={API_KEY} \\", flush=True)
        print(f"  EASYPOST_WEBHOOK_SECRET={WEBHOOK_SECRET} \\", flush=True)
        print("  SHIP_FROM_LINE1='ul. Prosta 20' SHIP_FROM_CITY=Warszawa SHIP_FROM_ZIP=00-850 \\", flush=True)
        print("  SHIP_FROM_COUNTRY=PL SHIP_FROM_PHONE=+48221234567 make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
