"""A merchant's colour on its pay page: a small stylesheet, because the policy of every page forbids inline styles."""

import re

_COLOR = re.compile(r"#[0-9a-f]{6}")
# WCAG 2.2: text needs a contrast of 4.5 to 1 with what is behind it.
_ENOUGH = 4.5


def stylesheet(color: str) -> str:
    """The rules that make areas and buttons the merchant's colour, with text that can be read on it. Empty for none."""
    if not _COLOR.fullmatch(color):
        return ""
    white, black = _contrast(color, "#ffffff"), _contrast(color, "#000000")
    text = "#ffffff" if white >= _ENOUGH or white >= black else "#000000"
    return (
        f".merchant-brand {{ --merchant: {color}; --merchant-text: {text}; }}\n"
        ".merchant-brand .btn-primary { background: var(--merchant); border-color: var(--merchant);"
        " color: var(--merchant-text); }\n"
        ".merchant-brand .merchant-mark { background: var(--merchant); color: var(--merchant-text); }\n"
    )


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2, "relative luminance")."""
    red, green, blue = (_linear(int(color[start : start + 2], 16) / 255) for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
