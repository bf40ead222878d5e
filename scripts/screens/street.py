"""The portal on fresh demo data, and the companies around it: a Stripe, a shop at One.com, a chain, a carrier, a
merchant's program, and what a domain of one's own needs: name servers, nginx and a certificate authority."""

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
from tests.servers import dns, pebble, processes
from tests.servers.dns import NameServer
from tests.servers.pebble import Pebble
from tests.sites.hosting import SiteHost, site_host


@dataclass
class Street:
    """Everybody who takes part. `names` says where domains lead, `authority` issues their certificates."""

    shop: Shop
    carrier: easypost.FakeEasyPost
    receiver: Receiver
    chain: Chain
    token: Token
    names: NameServer
    authority: Pebble


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
        names = parts.enter_context(dns.running())
        host = parts.enter_context(site_host())
        authority = parts.enter_context(pebble.running(dns=names.address, http_port=host.port, refused_nonces=0))
        given = {
            **_domains(host, names, authority),
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
        yield Street(shop, carrier, receiver, chain, token, names, authority)


def _domains(host: SiteHost, names: NameServer, authority: Pebble) -> dict[str, str]:
    """Domains of customers lead to nginx on this machine; the sites themselves are looked at without it."""
    nginx = {name.upper(): value for name, value in host.settings().items() if name != "sites_url"}
    return {
        **nginx,
        "NGINX_LISTEN_TLS": f"127.0.0.1:{processes.free_port()}",
        "SITES_ADDRESSES": "127.0.0.1",
        "DNS_RESOLVERS": names.address,
        "ACME_DIRECTORY_URL": authority.url,
        # Whose word the library takes that speaks to the authority.
        "REQUESTS_CA_BUNDLE": str(authority.root),
    }
