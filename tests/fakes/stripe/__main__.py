"""A Stripe to click: `python -m tests.fakes.stripe --port 12111` prints how to point the portal at it."""

import argparse
import signal
import threading

from tests.fakes.stripe import API_KEY, WEBHOOK_SECRET, FakeStripe


def main() -> None:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.stripe", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/webhooks/stripe")
    parser.add_argument("--webhook-secret", default=WEBHOOK_SECRET)
    parser.add_argument("--api-key", default=API_KEY)
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    fake = FakeStripe(options.webhook_url, options.webhook_secret, options.api_key, options.port)
    with fake:
        print(f"fake Stripe on {fake.url}, webhooks to {options.webhook_url}", flush=True)
        print("Start the portal with:", flush=True)
        print(f"  STRIPE_API_BASE={fake.url} STRIPE_SECRET_KEY={options.api_key} \\", flush=True)
        print(f"  STRIPE_WEBHOOK_SECRET={options.webhook_secret} make run", flush=True)
        stop.wait()


if __name__ == "__main__":
    main()
