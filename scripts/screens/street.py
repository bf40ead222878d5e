"""The portal on fresh demo data, and the companies around it: a Stripe, a shop at One.com, a chain, a carrier, and a
merchant's program."""

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser import shop as shops
from tests.browser.shop import Shop
from tests.fakes import easypost, onecom
from tests.fakes.chain import Chain, FakeNode, Token
from tests.fakes.chain.wallet import xpub_of
from tests.fakes.receiver import Receiver
from tests.servers import processes


@dataclass
class Street:
    """Everybody who takes part."""

    shop: Shop
    carrier: easypost.FakeEasyPost
    receiver: Receiver
    chain: Chain
    token: Token


@contextmanager
def opened(folder: Path) -> Iterator[Street]:
    """Everything runs until the block ends; data is kept in the folder."""
    port = processes.free_port()
    home = f"http://127.0.0.1:{port}/webhooks"
    with contextlib.ExitStack() as parts:
        carrier = parts.enter_context(easypost.FakeEasyPost(f"{home}/easypost"))
        carrier.set_webhooks()
        one_com = parts.enter_context(onecom.OneComShop(f"{home}/onecom"))
        receiver = parts.enter_context(Receiver())
        chain = Chain()
        token = chain.deploy()
        node = parts.enter_context(FakeNode(chain))
        given = {
            "EASYPOST_API_BASE": carrier.api_base,
            "EASYPOST_API_KEY": easypost.API_KEY,
            "EASYPOST_WEBHOOK_SECRET": easypost.WEBHOOK_SECRET,
            "SHIP_FROM_LINE1": "ul. Prosta 20",
            "SHIP_FROM_CITY": "Warszawa",
            "SHIP_FROM_ZIP": "00-850",
            "SHIP_FROM_COUNTRY": "PL",
            "SHIP_FROM_PHONE": "+48221234567",
            "ONECOM_CHECKOUT_URL": one_com.link,
            "ONECOM_WEBHOOK_SECRET": onecom.WEBHOOK_SECRET,
            "WEB3_NETWORKS": json.dumps([node.network(token, title="Demo chain", symbol="PLNC", currencies=["PLN"])]),
            "WEB3_XPUB": xpub_of(b"the same addresses in every run!"),
            "WEB3_WEBHOOK_SECRET": "whsec_c2VjcmV0LW9mLXRoZS1zY3JlZW5zLW9ubHk=",
            "WEBHOOKS_TO_LOOPBACK": "true",
        }
        shop = parts.enter_context(shops.opened(folder, environment="development", port=port, **given))
        yield Street(shop, carrier, receiver, chain, token)
