"""What docs/webhooks.md tells a merchant's developer is so."""

import json
import re
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.db import unit_of_work
from portal.merchants.models import Merchant
from portal.merchants.outbound import endpoints
from portal.merchants.outbound.events import EventType
from tests.fakes.receiver import Receiver
from tests.merchants.support import make_session, pay, work

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()


def blocks(language: str) -> list[str]:
    """The pieces of code of the document."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def shape(value: Any) -> Any:
    """The names in a value, without what they hold."""
    return {name: shape(one) for name, one in value.items()} if isinstance(value, dict) else None


def test_the_examples_are_as_real_ones_and_the_code_verifies_them(
    app: Flask, client: FlaskClient, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    (code,) = blocks("python")
    said: dict[str, Any] = {}
    exec(compile(code, "docs/webhooks.md", "exec"), said)  # the document's own ten lines
    with unit_of_work():
        _endpoint, new = endpoints.rotate_secret(cafe, mode="test", by="alice", at=clock.now())
    pay(app, client, make_session(cafe, customer_email="buyer@example.com").public_id)
    with unit_of_work():
        endpoints.send_test(cafe, mode="test", at=clock.now())
    work(app)
    examples = {example["type"]: example for example in map(json.loads, blocks("json"))}
    assert {json.loads(one.body)["type"] for one in shop.received} == set(examples)
    for request in shop.received:
        real, example = json.loads(request.body), examples[json.loads(request.body)["type"]]
        assert shape(real) == shape(example)
        assert real["data"].get("status") == example["data"].get("status")
        assert real["data"].get("payment_status") == example["data"].get("payment_status")
        for secret in (hook_secret, new):
            assert said["is_ours"](secret, request.headers, request.body)
        assert not said["is_ours"](new, request.headers, request.body + b" ")
        assert not said["is_ours"]("whsec_" + "A" * 44, request.headers, request.body)
        late = {**request.headers, "webhook-timestamp": "1"}
        assert not said["is_ours"](new, late, request.body)


def test_every_event_is_named() -> None:
    for kind in EventType:
        assert f"`{kind.value}`" in TEXT
