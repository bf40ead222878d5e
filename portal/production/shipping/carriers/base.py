"""The contract between shipping and a carrier's API: plain values in and out, and three ways to fail."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from flask_babel import lazy_gettext as _l

from portal.core.errors import PortalError, Sentence, Unavailable
from portal.core.money import Money
from portal.payments.providers.base import ParsedWebhook


class ParcelState(StrEnum):
    """Where a parcel is, in our words; every carrier's words are mapped to these in its own module."""

    UNKNOWN = "unknown"
    ANNOUNCED = "announced"  # The label exists; the carrier has not seen the parcel.
    MOVING = "moving"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AT_PICKUP_POINT = "at_pickup_point"
    DELIVERED = "delivered"
    RETURNED = "returned"  # On its way back to us, or here again.
    FAILED = "failed"  # The carrier could not deliver it.
    CALLED_OFF = "called_off"
    TROUBLE = "trouble"  # The carrier's own system has lost track of it.


@dataclass(frozen=True, slots=True)
class Address:
    """Where a parcel comes from or goes to; `country` is two letters."""

    name: str
    company: str
    line1: str
    line2: str
    city: str
    state: str
    zip: str
    country: str
    phone: str
    email: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Address":
        """From a mapping with these keys; what is missing is empty."""
        return cls(**{name: str(values.get(name) or "").strip() for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Parcel:
    """A packed box: whole grams and millimetres."""

    grams: int
    length_mm: int
    width_mm: int
    height_mm: int


@dataclass(frozen=True, slots=True)
class CustomsItem:
    """One kind of thing in a parcel, as customs want it: value and grams are of all its pieces together."""

    description: str
    quantity: int
    value: Money
    grams: int
    tariff_number: str
    origin_country: str


@dataclass(frozen=True, slots=True)
class Customs:
    """What is declared of a parcel of merchandise; `signer` is the person who says that it is true, or empty."""

    items: tuple[CustomsItem, ...]
    signer: str


@dataclass(frozen=True, slots=True)
class Rate:
    """One way to send a parcel and what it costs us; `days` is the carrier's estimate, where it gives one."""

    reference: str
    carrier: str
    service: str
    cost: Money
    days: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a parcel can be sent by. `remarks` are the carriers' own words on why they offer nothing."""

    reference: str
    rates: tuple[Rate, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """A label that was bought: the tracking number on it, and where the carrier keeps it to print."""

    carrier: str
    service: str
    tracking_number: str
    tracking_url: str | None
    tracker_reference: str | None
    cost: Money | None
    url: str


class RefundAnswer(StrEnum):
    """What a carrier says when asked for a label's money back."""

    SUBMITTED = "submitted"
    REFUNDED = "refunded"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Scan:
    """One thing that happened to a parcel. `key` is the same however often and by whichever way it is told."""

    key: str
    state: ParcelState
    message: str
    place: str
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Track:
    """Everything a carrier says about a parcel at one moment, its scans in no particular order.

    `word` is the carrier's own for its state; `is_understood` is false when that word is new to us.
    """

    reference: str
    state: ParcelState
    word: str
    scans: tuple[Scan, ...]
    is_understood: bool = True
    is_test: bool | None = None
    tracking_url: str | None = None
    expected_at: datetime | None = None


class CarrierUnavailable(Unavailable):
    """The carrier did not say yes or no: whether anything happened there is unknown unless it `is_answered`."""

    default = _l("The carrier does not answer right now. Nothing was lost; please try again in a moment.")

    def __init__(
        self,
        message: Sentence | None = None,
        *,
        is_answered: bool = False,
        said: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.is_answered = is_answered
        self.said = said
        self.detail = detail


class CarrierRefused(PortalError):
    """The carrier's final no; nothing happened there. `said` is in its own words, for staff; `detail` is for logs."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "carrier_refused"
    default = _l("The carrier refused this.")

    def __init__(
        self,
        message: Sentence | None = None,
        *,
        reason: str | None = None,
        said: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.said = said
        self.detail = detail


class Carrier(Protocol):
    """What a carrier's API offers. No call runs inside a transaction; all but `offer` may be repeated without harm."""

    @property
    def name(self) -> str:
        """The key in addresses, settings and tables."""

    @property
    def title(self) -> str:
        """What people read."""

    @property
    def is_test(self) -> bool:
        """Whether its labels are specimens that cost nothing."""

    def offer(
        self, parcel: Parcel, origin: Address, destination: Address, *, reference: str, customs: Customs | None
    ) -> Offer:
        """Prices for a parcel; `reference` is our own name for it, `customs` what is declared. Nothing is bought.

        Raises CarrierUnavailable or CarrierRefused.
        """

    def buy(self, reference: str, rate: str) -> Label:
        """Buy the label of an offer. An offer has one label at most: buying again gives the one there is.

        Raises CarrierUnavailable (unknown whether it was bought, unless it `is_answered`) or CarrierRefused.
        """

    def find_label(self, reference: str) -> Label | None:
        """The label of an offer, if it was bought. Raises CarrierUnavailable or CarrierRefused."""

    def fetch_label(self, url: str) -> bytes:
        """A label as PDF. Raises CarrierUnavailable, or CarrierRefused for an address that is not the carrier's."""

    def refund(self, reference: str) -> RefundAnswer:
        """Ask for a label's money back; asking again tells how it stands.

        Raises CarrierUnavailable or CarrierRefused.
        """

    def find_refund(self, reference: str) -> RefundAnswer | None:
        """How a refund stands; None when none was asked for. Raises CarrierUnavailable or CarrierRefused."""

    def track(self, tracker_reference: str) -> tuple[Track, bytes]:
        """Ask where a parcel is; the bytes are the answer as the inbox keeps it.

        Raises CarrierUnavailable or CarrierRefused.
        """

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""

    def reread(self, body: bytes, *, delivery_key: str) -> ParsedWebhook:
        """Read a delivery without asking who sent it. Raises InvalidPayload."""

    def sample_headers(self, body: bytes, *, delivery_key: str, at: datetime) -> Mapping[str, str]:
        """The headers of such a delivery, without a valid signature."""

    def read_track(self, body: bytes) -> Track | None:
        """What a kept delivery or answer says about a parcel; None when it is about something else.

        Raises InvalidPayload.
        """
