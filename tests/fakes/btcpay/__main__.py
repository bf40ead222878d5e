"""A BTCPay Server to click: `python -m tests.fakes.btcpay` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.btcpay import API_KEY, STORE_ID, WEBHOOK_SECRET, FakeBTCPay


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.btcpay", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/api/v1/webhooks/btcpay")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with FakeBTCPay(options.webhook_url, port=options.port) as fake:
        print(f"fake BTCPay Server on {fake.url}, webhooks to {options.webhook_url}", flush=True)
        print("Start the portal with:", flush=True)
        print(f"  BTCPAY_URL={fake.url} BTCPAY_API_KEY={API_KEY} \\", flush=True)
        print(f"  BTCPAY_STORE_ID={STORE_ID} BTCPAY_WEBHOOK_SECRET={WEBHOOK_SECRET} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
