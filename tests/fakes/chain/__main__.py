"""A chain to click: `python -m tests.fakes.chain` prints the settings, and pays every address that is typed in."""

import json
import secrets
import sys
from decimal import Decimal

from tests.fakes.chain import Chain, FakeNode
from tests.fakes.chain.wallet import xpub_of


def main() -> None:
    """Serve until the input ends; each line is `<address> <tokens>`, and mines five blocks."""
    chain = Chain()
    token = chain.deploy()
    with FakeNode(chain) as node:
        networks = json.dumps([node.network(token, confirmations=3)])
        secret = "whsec_" + "c2VjcmV0LWZvci10cnlpbmctb3V0LW9ubHk="
        print(f"WEB3_NETWORKS='{networks}' \\\nWEB3_XPUB={xpub_of(secrets.token_bytes(32))} \\", flush=True)
        print(f"WEB3_WEBHOOK_SECRET={secret} make run\nThen: <address> <tokens>", flush=True)
        for line in sys.stdin:
            address, _space, amount = line.strip().partition(" ")
            print(token.transfer(address, int(Decimal(amount or 1) * 10**token.decimals)), flush=True)
            chain.mine(5)


if __name__ == "__main__":
    main()
