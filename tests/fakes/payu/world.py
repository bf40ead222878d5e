"""What happens inside the fake PayU: orders are made, paid, cancelled and refunded, and notifications come of it."""

import ipaddress
import json
import re
import secrets
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from tests.fakes.payu.delivery import Notification

Object = dict[str, Any]
Announce = Callable[..., None]
_REQUIRED = ("customerIp", "merchantPosId", "description", "currencyCode", "totalAmount", "products")
_LONGEST = {"description": 4000, "visibleDescription": 80, "extOrderId": 1024, "notifyUrl": 1024, "continueUrl": 1024}
_KNOWN = {*_REQUIRED, *_LONGEST, "validityTime", "buyer", "additionalDescription", "settings", "payMethods"}
_FINAL = ("COMPLETED", "CANCELED")


class Refusal(Exception):
    """A call that PayU refuses, in its words."""

    def __init__(self, http_status: int, code: str, described: str = "", literal: str | None = None) -> None:
        super().__init__(f"{code} {literal or ''} {described}")
        self.http_status = http_status
        status = {"statusCode": code, "severity": "ERROR", "codeLiteral": literal, "statusDesc": described}
        self.body: Object = {"status": {name: value for name, value in status.items() if value}}


class World:
    """All orders of one point of sale. Every public method is one thing that happens there."""

    def __init__(self, announce: Announce, *, pos_id: str, currencies: tuple[str, ...] = ("PLN", "EUR", "HUF")) -> None:
        self.lock = threading.RLock()
        self.pos_id = pos_id
        self.currencies = currencies
        self.orders: dict[str, Object] = {}
        self.refunds: dict[str, list[Object]] = {}
        self.url = ""
        self.offset = 0.0  # Seconds by which this world's clock is ahead.
        self.auto_receive = True
        self.refund_status = "PENDING"  # How the next refunds begin.
        self.pages: dict[str, Object] = {}  # What is not part of an order's public face.
        self._announce = announce
        self._count = 0

    # -- reading ------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """This world's clock."""
        return time.time() + self.offset

    def time_text(self) -> str:
        """The time as PayU writes it."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")

    def order(self, order_id: str) -> Object:
        """One order, cancelled if its time has come. Raises Refusal."""
        with self.lock:
            self.tick()
            found = self.orders.get(order_id)
            if found is None:
                raise Refusal(404, "DATA_NOT_FOUND", "Could not find data for given criteria.")
            return found

    def tick(self) -> None:
        """Cancel the orders whose time has come."""
        with self.lock:
            for order_id, order in self.orders.items():
                if order["status"] == "NEW" and self.pages[order_id]["valid_until"] <= self.now():
                    self._move(order, "CANCELED")

    # -- the shop -----------------------------------------------------------------------------------------------

    def create(self, wanted: Object) -> Object:
        """POST /api/v2_1/orders."""
        self._check(wanted)
        with self.lock:
            external = wanted.get("extOrderId")
            if external and any(order.get("extOrderId") == external for order in self.orders.values()):
                raise Refusal(400, "ERROR_ORDER_NOT_UNIQUE", f"Order with extOrderId {external} already exists")
            self._count += 1
            order_id = f"{secrets.token_hex(5).upper()}260101GUEST{self._count:03}P01"
            kept = {name: wanted[name] for name in wanted if name not in ("validityTime", "continueUrl", "payMethods")}
            order = {"orderId": order_id, "orderCreateDate": self.time_text(), **deepcopy(kept), "status": "NEW"}
            self.orders[order_id] = order
            self.pages[order_id] = {
                "token": secrets.token_urlsafe(16),
                "continue_url": wanted.get("continueUrl", ""),
                "valid_until": self.now() + int(wanted.get("validityTime", "86400")),
                "language": wanted.get("buyer", {}).get("language", "pl"),
            }
            answer = {"status": {"statusCode": "SUCCESS"}, "redirectUri": self.page_url(order_id), "orderId": order_id}
            return {**answer, "extOrderId": external} if external else answer

    def page_url(self, order_id: str) -> str:
        """Where the buyer pays."""
        page = self.pages[order_id]
        return f"{self.url}/pay/?orderId={order_id}&token={page['token']}&lang={page['language']}"

    def _check(self, wanted: Object) -> None:
        for name in _REQUIRED:
            if not wanted.get(name):
                raise Refusal(400, "ERROR_VALUE_MISSING", f"Missing required field: {name}")
        if unknown := sorted(set(wanted) - _KNOWN):
            raise Refusal(400, "ERROR_SYNTAX", f"Unknown fields: {unknown}")
        if wanted["merchantPosId"] != self.pos_id:
            raise Refusal(403, "ERROR_VALUE_INVALID", "Wrong POS", "INVALID_AUTH_FOR_THIS_ORDER")
        for name, longest in _LONGEST.items():
            if len(wanted.get(name, "")) > longest:
                raise Refusal(400, "ERROR_VALUE_INVALID", f"{name} is too long")
        try:
            is_nobody = ipaddress.ip_address(wanted["customerIp"]).is_unspecified
        except ValueError:
            is_nobody = True
        amounts = [wanted["totalAmount"], wanted.get("validityTime", "1")]
        for product in wanted["products"]:
            if not product.get("name") or len(product["name"]) > 255:
                raise Refusal(400, "ERROR_VALUE_INVALID", "Invalid field: products.name")
            amounts += [product.get("unitPrice"), product.get("quantity")]
        if is_nobody or any(not isinstance(one, str) or not re.fullmatch("[1-9][0-9]*", one) for one in amounts):
            raise Refusal(400, "ERROR_VALUE_INVALID", "Invalid field: customerIp, or an amount")
        if wanted["currencyCode"] not in self.currencies:
            raise Refusal(400, "ERROR_INCONSISTENT_CURRENCIES", "Currency is not supported by this POS")

    def cancel(self, order_id: str) -> Object:
        """DELETE /api/v2_1/orders/{orderId}."""
        with self.lock:
            order = self.order(order_id)
            if order["status"] in _FINAL:
                raise Refusal(400, "ERROR_VALUE_INVALID", "Order is in its final status", "INVALID_STATUS")
            self._move(order, "CANCELED")
            external = {"extOrderId": order["extOrderId"]} if "extOrderId" in order else {}
            return {"orderId": order_id, **external, "status": {"statusCode": "SUCCESS"}}

    def capture(self, order_id: str) -> Object:
        """POST …/captures: receive a payment that waits for it."""
        with self.lock:
            order = self.order(order_id)
            if order["status"] != "WAITING_FOR_CONFIRMATION":
                raise Refusal(400, "ERROR_VALUE_INVALID", "Nothing waits for confirmation", "INVALID_STATUS")
            self._move(order, "COMPLETED")
            return {"status": {"statusCode": "SUCCESS", "statusDesc": "Status was updated"}}

    def retrieve(self, order_id: str) -> Object:
        """GET /api/v2_1/orders/{orderId}."""
        order = deepcopy(self.order(order_id))
        properties = [{"name": "PAYMENT_ID", "value": f"{900_000_000 + len(self.orders)}"}]
        return {
            "orders": [order],
            "status": {"statusCode": "SUCCESS", "statusDesc": "Request processing successful"},
            "properties": properties if order["status"] != "NEW" else [],
        }

    def refund(self, order_id: str, wanted: Object) -> Object:
        """POST …/refunds; exactly the same data gives the same refund again."""
        with self.lock:
            order = self.order(order_id)
            refund = wanted.get("refund")
            if not isinstance(refund, dict) or not refund.get("description"):
                raise Refusal(400, "OPENPAYU_ERROR_VALUE_INVALID", "Missing refund section", "MISSING_REFUND_SECTION")
            made = self.refunds.setdefault(order_id, [])
            for known in made:
                if known["asked"] == refund:
                    return self._refund_answer(order_id, known)
                if refund.get("extRefundId") and known["asked"].get("extRefundId") == refund["extRefundId"]:
                    literal = "REFUND_IDEMPOTENCY_MISMATCH"
                    raise Refusal(400, "OPENPAYU_BUSINESS_ERROR", "Other data than before", literal)
            if order["status"] != "COMPLETED":
                raise Refusal(400, "OPENPAYU_BUSINESS_ERROR", "Transaction is not finished", "TRANS_NOT_ENDED")
            left = int(order["totalAmount"]) - sum(int(one["amount"]) for one in made if one["status"] != "CANCELED")
            amount = int(refund.get("amount", left))
            if left == 0:
                raise Refusal(400, "OPENPAYU_BUSINESS_ERROR", "Already refunded", "PAID")
            if amount > left:
                raise Refusal(400, "OPENPAYU_BUSINESS_ERROR", "Amount is too big", "AMOUNT_TO_BIG")
            if refund.get("currencyCode", order["currencyCode"]) != order["currencyCode"]:
                raise Refusal(400, "OPENPAYU_ERROR_VALUE_INVALID", "Wrong currency", "INVALID_CURRENCY")
            one = {
                "refundId": str(5_000_000_000 + len(self.refunds) * 1000 + len(made)),
                "asked": deepcopy(refund),
                "amount": str(amount),
                "creationDateTime": self.time_text(),
                "status": "PENDING",
                "statusDateTime": self.time_text(),
            }
            made.append(one)
            if self.refund_status != "PENDING":
                self._move_refund(order, one, self.refund_status)
            return self._refund_answer(order_id, one)

    def _refund_answer(self, order_id: str, refund: Object) -> Object:
        return {
            "orderId": order_id,
            "refund": self._refund_face(order_id, refund),
            "status": {"statusCode": "SUCCESS", "statusDesc": "Refund queued for processing"},
        }

    def _refund_face(self, order_id: str, refund: Object) -> Object:
        face = {name: refund[name] for name in refund if name != "asked"}
        asked = {name: refund["asked"][name] for name in ("extRefundId", "description") if name in refund["asked"]}
        return {**face, **asked, "currencyCode": self.orders[order_id]["currencyCode"]}

    def list_refunds(self, order_id: str) -> list[Object]:
        """GET …/refunds."""
        self.order(order_id)
        return [self._refund_face(order_id, one) for one in self.refunds.get(order_id, [])]

    # -- buyers, banks and the panel ----------------------------------------------------------------------------

    def pay(self, order_id: str, method: str = "PBL", *, lose_webhook: bool = False) -> Object:
        """The buyer pays and the money is there at once: two notifications."""
        with self.lock:
            order = self._payable(order_id)
            order["payMethod"] = {"type": method}
            told = self._step(order, "PENDING")
            told += self._step(order, "COMPLETED" if self.auto_receive else "WAITING_FOR_CONFIRMATION")
            self._announce(told, is_lost=lose_webhook)
            return order

    def wait(self, order_id: str) -> Object:
        """The buyer is done, and their bank is not."""
        with self.lock:
            order = self._payable(order_id)
            order["payMethod"] = {"type": "PBL"}
            self._announce(self._step(order, "PENDING"))
            return order

    def complete(self, order_id: str, *, lose_webhook: bool = False) -> Object:
        """The money that was waited for arrives."""
        with self.lock:
            order = self.orders[order_id]
            self._announce(self._step(order, "COMPLETED"), is_lost=lose_webhook)
            return order

    def decline(self, order_id: str) -> Object:
        """The payment is refused for good."""
        with self.lock:
            order = self._payable(order_id)
            self._move(order, "CANCELED")
            return order

    def panel_refund(self, order_id: str, amount: int | None = None) -> Object:
        """Somebody refunds in PayU's panel."""
        wanted = {"description": f"By hand {secrets.token_hex(3)}", **({"amount": str(amount)} if amount else {})}
        return self.refund(order_id, {"refund": wanted})

    def move_refund(self, refund_id: str, status: str) -> Object:
        """A refund is FINALIZED, or CANCELED."""
        with self.lock:
            for order_id, made in self.refunds.items():
                for refund in made:
                    if refund["refundId"] == refund_id:
                        self._move_refund(self.orders[order_id], refund, status)
                        return refund
        raise Refusal(404, "DATA_NOT_FOUND", "No such refund")

    # -- inside -------------------------------------------------------------------------------------------------

    def _payable(self, order_id: str) -> Object:
        order = self.order(order_id)
        if order["status"] not in ("NEW", "PENDING"):
            raise Refusal(400, "ERROR_VALUE_INVALID", f"This order is {order['status']}", "INVALID_STATUS")
        return order

    def _move(self, order: Object, status: str) -> None:
        self._announce(self._step(order, status))

    def _step(self, order: Object, status: str) -> list[Notification]:
        if order["status"] == status:
            return []
        order["status"] = status
        body: Object = {"order": {name: value for name, value in order.items() if name != "customerIp"}}
        if status == "COMPLETED":
            body["localReceiptDateTime"] = self.time_text()
        body["properties"] = [{"name": "PAYMENT_ID", "value": "900000001"}]
        return [Notification(f"{order['orderId']}:{status}", order.get("notifyUrl", ""), json.dumps(body).encode())]

    def _move_refund(self, order: Object, refund: Object, status: str) -> None:
        refund.update(status=status, statusDateTime=self.time_text())
        body = {
            "orderId": order["orderId"],
            **({"extOrderId": order["extOrderId"]} if "extOrderId" in order else {}),
            "refund": {
                "refundId": refund["refundId"],
                "amount": refund["amount"],
                "currencyCode": order["currencyCode"],
                "status": status,
                "statusDateTime": refund["statusDateTime"],
                "reason": "refund",
                "reasonDescription": refund["asked"]["description"],
                "refundDate": refund["creationDateTime"],
            },
        }
        key = f"{refund['refundId']}:{status}"
        self._announce([Notification(key, order.get("notifyUrl", ""), json.dumps(body).encode())])
