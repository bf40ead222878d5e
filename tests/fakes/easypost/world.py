"""What happens inside the fake EasyPost: shipments are priced, bought, followed and given back."""

import copy
import hashlib
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.easypost import customs
from tests.fakes.easypost.errors import ApiError

Object = dict[str, Any]
Announce = Callable[[Object], None]
# carrier, service, cents for the first pound, cents for each further pound, days
TARIFF = (
    ("USPS", "GroundAdvantage", 593, 110, 3),
    ("USPS", "Priority", 695, 160, 2),
    ("DPDUK", "ParcelTwoDay", 840, 90, 2),
    ("UPSDAP", "NextDayAir", 3125, 400, 1),
)
_OUNCES_IN_POUND = 16
# What the API's own test numbers do: https://docs.easypost.com/docs/trackers
DETAILS = {
    "pre_transit": ("label_created", "Shipping Label Created"),
    "in_transit": ("arrived_at_facility", "Arrived at Facility"),
    "out_for_delivery": ("out_for_delivery", "Out for Delivery"),
    "available_for_pickup": ("available_for_pickup", "Ready at the Parcel Shop"),
    "delivered": ("arrived_at_destination", "Delivered, Front Door"),
    "return_to_sender": ("return", "Returned to Sender"),
    "failure": ("delivery_attempted", "Delivery Attempted - No Access"),
    "cancelled": ("cancelled", "Label Cancelled"),
    "error": ("unknown", "Carrier System Error"),
}


def new_id(prefix: str) -> str:
    """An id as EasyPost writes them: a prefix and 32 hex digits."""
    return f"{prefix}_{secrets.token_hex(16)}"


def stamp(moment: datetime) -> str:
    """An instant as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """One account. Every public method is one thing that happens there."""

    def __init__(self, announce: Announce, *, mode: str = "test") -> None:
        self.lock = threading.RLock()
        self.mode = mode
        self.url = ""
        self.shipments: dict[str, Object] = {}
        self.trackers: dict[str, Object] = {}
        self.labels: dict[str, bytes] = {}
        self.bought: list[str] = []
        self.refuses_refunds = False
        self.refunds_at_once = False
        self.offers_nothing = False
        self._announce = announce

    # -- the API ------------------------------------------------------------------------------------------------

    def create_shipment(self, values: Object) -> Object:
        """POST /shipments. Raises ApiError."""
        wanted = values.get("shipment")
        if not isinstance(wanted, dict) or not wanted:
            raise ApiError(422, "PARAMETER.REQUIRED", "Missing required parameter.", shipment="cannot be blank")
        for side in ("from_address", "to_address"):
            self._check_address(wanted.get(side), side)
        parcel = wanted.get("parcel") or {}
        if not isinstance(parcel.get("weight"), int | float) or parcel["weight"] <= 0:
            raise ApiError(422, "PARCEL.WEIGHT.INVALID", "Invalid weight.", weight="must be greater than 0")
        papers = customs.check(wanted.get("customs_info"))
        is_undeclared = papers is None and customs.is_border(wanted["from_address"], wanted["to_address"])
        now = stamp(datetime.now(UTC))
        shipment: Object = {
            "id": new_id("shp"), "object": "Shipment", "mode": self.mode, "created_at": now, "updated_at": now,
            "reference": wanted.get("reference"), "status": "unknown", "is_return": False, "tracking_code": None,
            "options": {**wanted.get("options", {}), "currency": "USD", "date_advance": 0}, "messages": [],
            "from_address": self._object("adr", "Address", wanted["from_address"]),
            "to_address": self._object("adr", "Address", wanted["to_address"]),
            "parcel": self._object("prcl", "Parcel", parcel), "postage_label": None, "rates": [], "fees": [],
            "refund_status": None, "selected_rate": None, "tracker": None, "forms": [],
            "customs_info": papers and self._object("cstinfo", "CustomsInfo", papers),
            "insurance": None, "order_id": None, "scan_form": None, "batch_id": None, "usps_zone": 4,
        }  # fmt: skip
        with self.lock:
            if self.offers_nothing or shipment["to_address"].get("country") == "AQ":
                shipment["messages"] = [
                    {"carrier": "USPS", "type": "rate_error", "message": "No service to this destination."}
                ]
            elif is_undeclared:
                shipment["messages"] = [
                    {
                        "carrier": "USPS",
                        "type": "rate_error",
                        "message": "customs_info: is required for this destination.",
                    }
                ]
            else:
                shipment["rates"] = [self._rate(shipment, *line) for line in TARIFF]
            self.shipments[shipment["id"]] = shipment
            return copy.deepcopy(shipment)

    def get_shipment(self, reference: str) -> Object:
        """GET /shipments/{id}. Raises ApiError."""
        with self.lock:
            if reference not in self.shipments:
                raise ApiError(404, "NOT_FOUND", "The requested resource could not be found.")
            return copy.deepcopy(self.shipments[reference])

    def buy(self, reference: str, values: Object) -> Object:
        """POST /shipments/{id}/buy, once for ever. Raises ApiError."""
        with self.lock:
            self.get_shipment(reference)
            shipment = self.shipments[reference]
            if shipment["postage_label"] is not None:
                raise ApiError(422, "SHIPMENT.POSTAGE.EXISTS", "Postage already exists for this shipment.")
            wanted = (values.get("rate") or {}).get("id")
            rate = next((one for one in shipment["rates"] if one["id"] == wanted), None)
            if rate is None:
                raise ApiError(422, "SHIPMENT.INVALID_PARAMS", "Unable to buy: rate not found.", rate="is invalid")
            code = f"9400{secrets.randbelow(10**18):018d}"
            label = new_id("pl")
            self.labels[label] = pdf(code)
            self.bought.append(reference)
            now = stamp(datetime.now(UTC))
            shipment["selected_rate"] = copy.deepcopy(rate)
            shipment["tracking_code"] = code
            shipment["postage_label"] = {
                "object": "PostageLabel", "id": label, "created_at": now, "updated_at": now, "date_advance": 0,
                "integrated_form": "none", "label_date": now, "label_resolution": 300, "label_size": "4x6",
                "label_type": "default", "label_file_type": "application/pdf", "label_file": None,
                "label_url": f"{self.url}/files/postage_label/{label}.pdf", "label_pdf_url": None,
                "label_zpl_url": None, "label_epl2_url": None,
            }  # fmt: skip
            tracker = self._new_tracker(code, rate["carrier"], reference)
            shipment["tracker"] = copy.deepcopy(tracker)
            answer = copy.deepcopy(shipment)
        self._tell("tracker.created", tracker, {})
        return answer

    def refund(self, reference: str) -> Object:
        """POST /shipments/{id}/refund; asking again tells how it stands. Raises ApiError."""
        with self.lock:
            self.get_shipment(reference)
            shipment = self.shipments[reference]
            if shipment["postage_label"] is None:
                raise ApiError(422, "SHIPMENT.REFUND.UNAVAILABLE", "There is no postage to refund.")
            if self.refuses_refunds:
                shipment["refund_status"] = "rejected"
            elif shipment["refund_status"] in (None, "rejected"):
                shipment["refund_status"] = "refunded" if self.refunds_at_once else "submitted"
            return copy.deepcopy(shipment)

    def get_tracker(self, reference: str) -> Object:
        """GET /trackers/{id}. Raises ApiError."""
        with self.lock:
            if reference not in self.trackers:
                raise ApiError(404, "NOT_FOUND", "The requested resource could not be found.")
            return copy.deepcopy(self.trackers[reference])

    # -- what the carriers do -----------------------------------------------------------------------------------

    def settle_refund(self, reference: str, status: str = "refunded") -> None:
        """A carrier has decided about a refund, after days."""
        with self.lock:
            self.shipments[reference]["refund_status"] = status

    def scan(self, reference: str, status: str, *, city: str = "WARSZAWA", message: str | None = None,
             at: datetime | None = None, is_told: bool = True) -> Object:  # fmt: skip
        """A parcel is seen somewhere; `reference` is its tracker. Returns the webhook event that tells it."""
        with self.lock:
            tracker = self.trackers[reference]
            detail, words = DETAILS.get(status, ("unknown", status))
            moment = at or datetime.now(UTC)
            was = tracker["status"]
            tracker["tracking_details"].append(
                {
                    "object": "TrackingDetail", "message": message if message is not None else words,
                    "description": words, "status": status, "status_detail": detail, "datetime": stamp(moment),
                    "source": tracker["carrier"], "carrier_code": None,
                    "tracking_location": {
                        "object": "TrackingLocation", "city": city, "state": None, "country": "PL", "zip": None,
                    },
                }
            )  # fmt: skip
            tracker["status"], tracker["status_detail"] = status, detail
            tracker["updated_at"] = stamp(datetime.now(UTC))
            tracker["est_delivery_date"] = stamp(moment + timedelta(days=2))
            told = copy.deepcopy(tracker)
        return self._tell("tracker.updated", told, {"status": was}, is_told=is_told)

    def _tell(self, kind: str, tracker: Object, previous: Object, *, is_told: bool = True) -> Object:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event: Object = {
            "id": new_id("evt"), "object": "Event", "mode": self.mode, "description": kind, "created_at": now,
            "updated_at": now, "previous_attributes": previous, "pending_urls": [], "completed_urls": [],
            "status": "pending", "user_id": "user_060ab38db3c04ffaa60f262e5781a9be", "result": copy.deepcopy(tracker),
        }  # fmt: skip
        if is_told:
            self._announce(event)
        return event

    def _check_address(self, address: Any, name: str) -> None:
        missing = [part for part in ("street1", "city", "zip", "country") if not (address or {}).get(part)]
        if missing:
            raise ApiError(
                422, "ADDRESS.PARAMETERS.INVALID", f"{name} is incomplete.", **dict.fromkeys(missing, "cannot be blank")
            )

    def _object(self, prefix: str, kind: str, values: Object) -> Object:
        now = stamp(datetime.now(UTC))
        return {"id": new_id(prefix), "object": kind, "created_at": now, "updated_at": now, "mode": self.mode, **values}

    def _rate(self, shipment: Object, carrier: str, service: str, first: int, more: int, days: int) -> Object:
        pounds = max(0, int(shipment["parcel"]["weight"]) // _OUNCES_IN_POUND)
        price = f"{(first + more * pounds) / 100:.2f}"
        return {
            "id": new_id("rate"), "object": "Rate", "created_at": shipment["created_at"],
            "updated_at": shipment["created_at"], "mode": self.mode, "service": service, "carrier": carrier,
            "rate": price, "currency": "USD", "retail_rate": price, "retail_currency": "USD", "list_rate": price,
            "list_currency": "USD", "billing_type": "easypost", "delivery_days": days, "delivery_date": None,
            "delivery_date_guaranteed": False, "est_delivery_days": days, "shipment_id": shipment["id"],
            "carrier_account_id": "ca_" + hashlib.sha256(carrier.encode()).hexdigest()[:32],
        }  # fmt: skip

    def _new_tracker(self, code: str, carrier: str, shipment_id: str) -> Object:
        now = stamp(datetime.now(UTC))
        reference = new_id("trk")
        tracker: Object = {
            "id": reference, "object": "Tracker", "mode": self.mode, "tracking_code": code, "status": "unknown",
            "status_detail": "unknown", "created_at": now, "updated_at": now, "signed_by": None, "weight": None,
            "est_delivery_date": None, "shipment_id": shipment_id, "carrier": carrier, "tracking_details": [],
            "fees": [], "carrier_detail": None, "finalized": False, "is_return": False,
            "public_url": f"https://track.easypost.com/{secrets.token_urlsafe(24)}",
        }  # fmt: skip
        self.trackers[reference] = tracker
        return tracker


def pdf(code: str) -> bytes:
    """A label of four by six inches that says its number: the smallest PDF that readers open."""
    text = f"BT /F1 18 Tf 30 300 Td (SPECIMEN {code}) Tj ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 288 432] /Contents 4 0 R /Resources << /Font << /F1 %s >> >> >>"
        % b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(body)
    return body + b"xref\n0 5\n0000000000 65535 f \n" + table + trailer
