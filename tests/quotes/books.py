"""Price books and measures for tests: small, sensible, with figures that can be checked by hand."""

import json
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

from portal.core import clock
from portal.core.db import unit_of_work
from portal.quotes.pricing import services
from portal.quotes.pricing.book import PriceBook, read_book
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.price import Options, Part

PLASTICS = ("pla", "petg", "abs", "asa", "tpu")


def _material(code: str, density: str, kg_price: str, **changes: Any) -> dict[str, Any]:
    return {
        "code": code,
        "name": code.upper(),
        "density": density,
        "kg_price": kg_price,
        "kg_cost": "80.00",
        "waste_percent": "5",
        "setup": "10.00",
        "largest_mm": None,
        "layer_mm": "0.2",
        "line_mm": "0.45",
        "perimeters": 2,
        "top_layers": 5,
        "bottom_layers": 4,
        "infill_low": 10,
        "infill_high": 100,
        "infill_usual": 20,
        "colours": [{"code": "black", "name": "Black"}, {"code": "white", "name": "White"}],
        **changes,
    }


def _printer(code: str, materials: list[str], build_mm: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "code": code,
        "name": code.capitalize(),
        "materials": materials,
        "build_mm": build_mm,
        "margin_mm": "5",
        "hour_price": "10.00",
        "hour_cost": "3.00",
        "part_seconds": "3.6",
        "wall_seconds": "0.474",
        "inner_seconds": "0.310",
        "infill_seconds": "0.186",
        "layer_seconds": "1.18",
        "longest_hours": "48",
        **changes,
    }


def _rush(code: str, percent: str, lead_days: int, daily_hours: str, cut_off_hour: int) -> dict[str, Any]:
    return {
        "code": code,
        "percent": percent,
        "lead_days": lead_days,
        "daily_hours": daily_hours,
        "cut_off_hour": cut_off_hour,
        "stretches": code == "standard",
    }


_CONTENT: dict[str, Any] = {
    "currency": "PLN",
    "tax_rate_basis_points": 2300,
    "auto_approve_below": "500.00",
    "validity_days": 30,
    "minimum": "40.00",
    "handling_price": "5.00",
    "handling_cost": "2.00",
    "timezone": "Europe/Warsaw",
    "ready_hour": 17,
    "holidays": ["01-01", "01-06", "05-01", "05-03", "11-11", "12-24", "12-25", "12-26", "2027-03-29"],
    "printers": [
        _printer("small", list(PLASTICS), ["205", "205", "205"]),
        _printer("large", ["pla", "petg"], ["405", "305", "305"], hour_price="15.00", hour_cost="5.00"),
    ],
    "materials": [
        _material("pla", "1.24", "200.00"),
        _material("petg", "1.27", "220.00"),
        _material("abs", "1.04", "240.00", largest_mm=["200", "200", "100"]),
        _material("asa", "1.07", "280.00", largest_mm=["200", "200", "100"]),
        _material("tpu", "1.21", "360.00", infill_high=60),
    ],
    "finishes": [
        {
            "code": "standard",
            "name": "As printed",
            "materials": list(PLASTICS),
            "piece_price": "0.00",
            "cm2_price": "0.00",
            "cost_percent": "0",
        },
        {
            "code": "smooth",
            "name": "Smooth",
            "materials": ["pla", "petg", "abs", "asa"],
            "piece_price": "5.00",
            "cm2_price": "0.10",
            "cost_percent": "50",
        },
        {
            "code": "painted",
            "name": "Painted",
            "materials": ["pla", "petg", "abs", "asa"],
            "piece_price": "10.00",
            "cm2_price": "0.20",
            "cost_percent": "60",
        },
    ],
    "breaks": [
        {"from_quantity": 10, "percent": "5"},
        {"from_quantity": 50, "percent": "10"},
        {"from_quantity": 100, "percent": "20"},
    ],
    "rush": [
        _rush("standard", "0", 5, "40", 15),
        _rush("rush", "20", 3, "20", 14),
        _rush("super_rush", "40", 1, "12", 12),
        _rush("emergency", "60", 0, "4", 10),
    ],
    "checks": {
        "supports_from_percent": "5",
        "supports_share_percent": "25",
        "supports_review_percent": "30",
        "thin_wall_mm": "1.0",
        "smallest_shell_mm": "2",
        "tall_ratio": "8",
        "contact_mm2": "50",
        "near_limit_mm": "10",
    },
}


def book_content(**changes: Any) -> dict[str, Any]:
    """A valid price book as JSON; `changes` replace its fields."""
    return {**deepcopy(_CONTENT), **changes}


def make_book(**changes: Any) -> PriceBook:
    """A price book to calculate with."""
    return read_book(book_content(**changes))


def cube(side_mm: float = 20.0, **changes: Any) -> dict[str, Any]:
    """What measuring finds in a closed cube that stands on the bed."""
    face = side_mm * side_mm
    return {
        "outcome": "accept",
        "code": "ok",
        "codes": [],
        "message": "",
        "volume_mm3": side_mm**3,
        "bbox_mm": [side_mm, side_mm, side_mm],
        "area_mm2": 6 * face,
        "triangles": 12,
        "parts": 1,
        "items": 1,
        "shells": 1,
        "watertight": True,
        "side_mm2": 4 * face,
        "up_mm2": face,
        "down_mm2": face,
        "overhang_mm2": 0.0,
        "contact_mm2": face,
        "smallest_shell_mm": side_mm,
        "unit": "millimeter",
        "has_colours": False,
        "thumbnail": None,
        "reader_version": 1,
        **changes,
    }


def make_part(measures: Mapping[str, Any] | None = None, *, quantity: int = 1, **options: Any) -> Part:
    """A part of a quote: a cube in black PLA, as printed, unless told otherwise."""
    chosen = {"material": "pla", "colour": "black", "finish": "standard", "infill_percent": 20, **options}
    return Part(cube() if measures is None else measures, Options(**chosen), quantity)


NOTHING_BOOKED: dict[str, Decimal] = {}


def publish_book(**changes: Any) -> PriceBookVersion:
    """Put a price book into force, and commit."""
    with unit_of_work():
        content = json.dumps(book_content(**changes)).encode()
        return services.import_book(content, note="Prices for tests", by="command:tests", at=clock.now()).version
