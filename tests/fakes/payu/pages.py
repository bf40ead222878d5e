"""What a buyer sees at the fake PayU. Every button is one way in which a payment can go."""

from html import escape

from tests.fakes.payu.world import Object

# The form's value, what the button says, and the words below it.
CHOICES = (
    ("pay", "Pay", "Card, BLIK or transfer: the money is there at once."),
    ("wait", "Pay, and let the bank wait", "The order stays pending until it is completed by hand."),
    ("decline", "Be refused", "You return to the shop with error=501."),
    ("lose", "Pay, and lose the notification", "The money is there, but the shop is not told."),
    ("leave", "Give up", "You return to the shop; the order stays open."),
)
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1a2b16}
h1{font-size:1.25rem}.amount{font-size:2rem;font-weight:600}.note{color:#4c5a47}
li{display:flex;flex-wrap:wrap;gap:.3rem 1rem;align-items:baseline;padding:.4rem 0}
li .note{flex:1 1 15rem}ul{list-style:none;padding:0}
button{font:inherit;min-width:16rem;padding:.5rem 1rem;border:0;border-radius:6px;background:#3f7300;color:#fff}
.banner{background:#eef7dd;padding:.5rem 1rem;border-radius:6px}
"""


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        f'<p class="banner">A stand-in for PayU. No money moves here.</p><main>{body}</main></body></html>'
    )


def pay_page(order: Object, back: str) -> str:
    """The hosted page of an open order, or why it is closed."""
    amount = f"{int(order['totalAmount']) / 100:,.2f} {order['currencyCode']}"
    head = f"<h1>{escape(order['description'])}</h1><p class='amount'>{escape(amount)}</p>"
    if order["status"] not in ("NEW", "PENDING"):
        words = {"COMPLETED": "This has been paid.", "CANCELED": "This order was cancelled."}
        said = escape(words.get(order["status"], order["status"]))
        return _page("PayU", f"{head}<p role='status'>{said}</p><p><a href='{escape(back)}'>Back to the shop</a></p>")
    rows = "".join(
        f"<li><form method='post'><button name='action' value='{value}'>{label}</button></form>"
        f"<span class='note'>{note}</span></li>"
        for value, label, note in CHOICES
    )
    return _page("PayU", f"{head}<ul>{rows}</ul>")


def message_page(words: str) -> str:
    """Something short."""
    return _page("PayU", f"<h1>{escape(words)}</h1>")
