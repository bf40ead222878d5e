"""Reading what a program sent: strict JSON, known fields only, and every wrong field named at once."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from flask import request
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.accounts.email_addresses import normalise_email
from portal.core.errors import Invalid, PortalError, Sentence
from portal.core.languages import LANGUAGES
from portal.core.money import Money, is_currency
from portal.merchants.errors import InvalidFields, MalformedBody, UnknownFields, WrongMediaType
from portal.merchants.models import Merchant
from portal.merchants.services.addresses import check_return_url
from portal.merchants.services.selling import SessionWish
from portal.payments.refund_models import RefundReason

LARGEST_BODY = 256 * 1024
# Twelve digits of the smallest unit: more than anybody sells at once, and far from the end of 64 bits.
LARGEST_AMOUNT = 10**12 - 1
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 40, 40, 500
_DEEPEST = 32
_SESSION_FIELDS = frozenset(
    {
        "amount_minor", "amount", "currency", "mode", "success_url", "cancel_url", "metadata", "customer_email",
        "customer_name", "description", "locale",
    }
)  # fmt: skip
_REFUND_FIELDS = frozenset({"amount_minor", "amount", "reason"})
# What we put into the metadata of an answer ourselves.
_OURS = frozenset({"webhook_sources"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class TooLarge(PortalError):
    """The body is larger than anything that is meant."""

    status = 413
    code = "too_large"
    default = _l("The body is larger than 256 KiB.")


def read_object() -> dict[str, Any]:
    """The request's body as one JSON object. Raises TooLarge, WrongMediaType or MalformedBody."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLarge
    request.max_content_length = None
    # One byte more than allowed, whatever length was announced or not announced.
    body: bytes = request.stream.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        raise TooLarge
    if request.mimetype != "application/json":
        raise WrongMediaType
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=Decimal)
    except (UnicodeDecodeError, RecursionError, ValueError, InvalidOperation):
        raise MalformedBody from None
    if not isinstance(value, dict) or _depth(value) > _DEEPEST:
        raise MalformedBody
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedBody(_l("A field stands in the body twice."))
    return fields


def _refuse(_name: str) -> NoReturn:
    raise MalformedBody(_l("NaN and Infinity are not JSON."))


def _depth(root: Any) -> int:
    level, depth = [root], 0
    while level and depth <= _DEEPEST:
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        level, depth = below, depth + 1
    return depth


def refuse_unknown(given: Collection[str], known: Collection[str]) -> None:
    """Raises UnknownFields when something was sent that nobody reads."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UnknownFields([_printable(name) for name in unknown[:20]])


def _printable(name: str) -> str:
    return _CONTROL.sub("?", name)[:60]


class Problems:
    """The wrong fields of one request, each with a code for programs and a sentence for people."""

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []

    def add(self, field: str, code: str, message: Sentence) -> None:
        """Note what is wrong with a field."""
        self.found.append({"field": field, "code": code, "message": str(message)})

    def stop_if_any(self) -> None:
        """Raises InvalidFields when something is wrong."""
        if self.found:
            raise InvalidFields(self.found)


def read_session_wish(body: Mapping[str, Any], merchant: Merchant, mode: str) -> SessionWish:
    """What is to be paid, as the body says, for a key of this mode. Raises UnknownFields or InvalidFields."""
    refuse_unknown(body.keys(), _SESSION_FIELDS)
    problems = Problems()
    if body.get("mode", mode) != mode:
        message = _l("This is a %(mode)s key: mode must be %(mode)s, or be left out.", mode=mode)
        problems.add("mode", "mode_mismatch", message)
    currency = _currency(body, problems)
    amount = _amount(body, currency, problems)
    urls = {name: _url(body, name, merchant, mode, problems) for name in ("success_url", "cancel_url")}
    metadata = _metadata(body, problems)
    email = _email(body, metadata, problems)
    name = _text(body, "customer_name", 120, problems) or _given(metadata, "customer_name")
    description = _text(body, "description", 200, problems)
    locale = _locale(body, problems)
    problems.stop_if_any()
    if amount is None:
        raise MalformedBody
    return SessionWish(
        amount=amount,
        mode=mode,
        description=description or "",
        success_url=urls["success_url"],
        cancel_url=urls["cancel_url"],
        customer_email=email,
        customer_name=name[:120] if name else None,
        locale=locale,
        metadata=metadata,
    )


@dataclass(frozen=True, slots=True)
class RefundWish:
    """What is to be given back; without an amount all that is left."""

    amount: Money | None
    reason: RefundReason


def read_refund_wish(body: Mapping[str, Any], currency: str) -> RefundWish:
    """What is to be given back, in the session's own currency. Raises UnknownFields or InvalidFields."""
    refuse_unknown(body.keys(), _REFUND_FIELDS)
    problems = Problems()
    is_part = body.get("amount_minor") is not None or body.get("amount") is not None
    amount = _amount(body, currency, problems) if is_part else None
    value = body.get("reason", RefundReason.REQUESTED_BY_CUSTOMER.value)
    reason = next((one for one in RefundReason if one.value == value), None)
    if reason is None:
        known = ", ".join(one.value for one in RefundReason)
        problems.add("reason", "unknown_reason", _l("Choose one of: %(reasons)s.", reasons=known))
    problems.stop_if_any()
    return RefundWish(amount, reason or RefundReason.OTHER)


def _currency(body: Mapping[str, Any], problems: Problems) -> str | None:
    value = body.get("currency")
    if value is None:
        problems.add("currency", "missing", _l("Say in which currency, such as PLN."))
    elif not isinstance(value, str):
        problems.add("currency", "wrong_type", _l("This must be a text."))
    elif not is_currency(value.upper()):
        problems.add("currency", "unknown_currency", _l("This is not a currency of ISO 4217 that is in use."))
    else:
        return value.upper()
    return None


def _amount(body: Mapping[str, Any], currency: str | None, problems: Problems) -> Money | None:
    """The amount in the smallest unit, or in whole ones; when both are given they must say the same."""
    minor, major = body.get("amount_minor"), body.get("amount")
    if minor is None and major is None:
        problems.add("amount_minor", "missing", _l("Say how much, in the smallest unit of the currency."))
        return None
    found: list[int] = []
    if minor is not None:
        if isinstance(minor, bool) or not isinstance(minor, int):
            problems.add("amount_minor", "wrong_type", _l("This must be a whole number."))
        elif _is_in_range("amount_minor", minor, problems):
            found.append(minor)
    if major is not None and currency is not None:
        exact = _exact(major, currency, problems)
        if exact is not None and _is_in_range("amount", exact, problems):
            found.append(exact)
    if len(set(found)) > 1:
        problems.add("amount", "amounts_differ", _l("amount and amount_minor do not say the same. Send one of them."))
    return Money(found[0], currency) if found and currency is not None else None


def _exact(value: Any, currency: str, problems: Problems) -> int | None:
    """An amount in whole units as a number or text, in the smallest one; never rounded."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        problems.add("amount", "wrong_type", _l('This must be a number or a text such as "49.00".'))
        return None
    text = str(value)
    # Text as people write prices; not what Decimal takes besides, such as "1e9", "_" or digits of other scripts.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,20}([.][0-9]{1,6})?", text):
        problems.add("amount", "not_an_amount", _l('This must be a number or a text such as "49.00".'))
        return None
    try:
        # 1e999999 is short to write and long to work out.
        is_absurd = isinstance(value, Decimal) and abs(value.adjusted()) > 20
        exact = None if is_absurd else Money.parse(text, currency).amount_minor
    except (ValueError, OverflowError):
        exact = None
    if exact is None:
        problems.add("amount", "not_an_amount", _l("This amount cannot be paid in this currency."))
    return exact


def _is_in_range(field: str, minor: int, problems: Problems) -> bool:
    if minor <= 0:
        problems.add(field, "not_positive", _l("The amount must be more than zero."))
    elif minor > LARGEST_AMOUNT:
        problems.add(field, "too_large", _l("The amount is larger than anything we take."))
    else:
        return True
    return False


def _text(body: Mapping[str, Any], field: str, longest: int, problems: Problems) -> str | None:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        problems.add(field, "wrong_type", _l("This must be a text."))
    elif len(value) > longest:
        problems.add(field, "too_long", _l("This is longer than %(count)s characters.", count=longest))
    elif _CONTROL.search(value):
        problems.add(field, "control_characters", _l("This holds characters that cannot be printed."))
    else:
        return value.strip() or None
    return None


def _email(body: Mapping[str, Any], metadata: Mapping[str, Any], problems: Problems) -> str | None:
    is_top = body.get("customer_email") is not None
    field = "customer_email" if is_top else "metadata.customer_email"
    value = _text(body, field, 254, problems) if is_top else _given(metadata, "customer_email")
    if not value:
        return None
    try:
        return normalise_email(value)
    except Invalid as error:
        problems.add(field, "invalid_email", str(error))
        return None


def _given(metadata: Mapping[str, Any], name: str) -> str | None:
    value = metadata.get(name)
    return value.strip() if isinstance(value, str) else None


def _url(body: Mapping[str, Any], field: str, merchant: Merchant, mode: str, problems: Problems) -> str:
    value = body.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.add(field, "wrong_type", _l("This must be a text."))
        return ""
    try:
        return check_return_url(value, mode=mode, hosts=merchant.return_hosts)
    except Invalid as error:
        problems.add(field, error.code, str(error))
        return ""


def _locale(body: Mapping[str, Any], problems: Problems) -> str:
    value = body.get("locale", "en")
    if isinstance(value, str) and value in LANGUAGES:
        return value
    problems.add("locale", "unknown_locale", _l("Choose one of: %(locales)s.", locales=", ".join(LANGUAGES)))
    return "en"


def _metadata(body: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    value = body.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.add("metadata", "wrong_type", _l("This must be an object."))
        return {}
    if len(value) > MOST_METADATA:
        message = _l("No more than %(count)s entries, please.", count=MOST_METADATA)
        problems.add("metadata", "too_many", message)
        return {}
    kept: dict[str, Any] = {}
    for name, one in value.items():
        wrong = _wrong_entry(name, one)
        if wrong is not None:
            problems.add(f"metadata.{_printable(name)}", *wrong)
        else:
            kept[name] = str(one) if isinstance(one, Decimal) else one
    return kept


_Check = Callable[[str, Any], bool]
_ENTRY_RULES: tuple[tuple[_Check, str, LazyString], ...] = (
    (
        lambda name, _one: not _NAME.fullmatch(name) or len(name) > LONGEST_NAME,
        "invalid_name",
        _l("Names are up to 40 letters, digits, dots, hyphens and underscores."),
    ),
    (lambda name, _one: name in _OURS, "reserved", _l("We fill this in ourselves.")),
    (
        lambda _name, one: one is not None and not isinstance(one, str | int | Decimal | bool),
        "wrong_type",
        _l("Values are texts, numbers, true, false or null."),
    ),
    (lambda _name, one: len(str(one)) > LONGEST_VALUE, "too_long", _l("Values have up to 500 characters.")),
    (
        lambda _name, one: (isinstance(one, str) and "\0" in one) or bool(re.search(r"[\ud800-\udfff]", str(one))),
        "control_characters",
        _l("This holds characters that cannot be printed."),
    ),
)


def _wrong_entry(name: str, one: Any) -> tuple[str, LazyString] | None:
    return next(((code, message) for is_wrong, code, message in _ENTRY_RULES if is_wrong(name, one)), None)
