"""What a buyer sees at the fake Stripe. Every button is one way in which a payment can go."""

from html import escape

from tests.fakes.stripe.shapes import Object
from tests.fakes.stripe.world import World

# The form's value, what the button says, and the words below it.
CHOICES = (
    ("card", "Pay with card", "Card 4242 4242 4242 4242. The money is there at once."),
    ("blik", "Pay with BLIK", "Confirmed in the bank's app at once."),
    ("decline", "Use a card that is declined", "You stay here and may try again."),
    ("twice", "Pay twice", "As if you had paid in two tabs: two payments for one purchase."),
    ("late", "Pay late", "A bank transfer: the money arrives a few seconds after you are back."),
    ("late_fail", "Pay late, and be refused", "A bank transfer that the bank refuses in the end."),
    ("lose", "Pay, and lose the webhook", "The money is there, but the shop is not told."),
    ("after_expiry", "Let it expire, then pay", "The page closes; the money arrives all the same."),
    ("expire", "Let it expire", "The page closes and nothing is paid."),
)
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#1a1f36}
h1{font-size:1.25rem}.amount{font-size:2rem;font-weight:600}
form{display:block;margin:0}li{display:flex;gap:1rem;align-items:baseline;padding:.4rem 0}ul{list-style:none;padding:0}
button{font:inherit;min-width:16rem;padding:.5rem 1rem;border:0;border-radius:6px;background:#0055de;color:#fff}
.note{color:#545969}.alert{background:#fde8e8;padding:.5rem 1rem;border-radius:6px}
.banner{background:#fff4d6;padding:.5rem 1rem;border-radius:6px}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem;border-bottom:1px solid #d8dee4}
td form{display:inline}td button{min-width:0;padding:.2rem .6rem;margin:0 .2rem}
"""


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        f'<p class="banner">A stand-in for Stripe. No money moves here.</p><main>{body}</main></body></html>'
    )


def amount_text(session: Object) -> str:
    """The sum, as a person reads it; good enough for two decimals and none."""
    is_whole = session["currency"] in ("jpy", "krw", "clp")
    amount = str(session["amount_total"]) if is_whole else f"{session['amount_total'] / 100:,.2f}"
    return f"{amount} {session['currency'].upper()}"


def pay_page(session: Object, name: str, message: str = "") -> str:
    """The hosted page of an open session, or why it is closed."""
    title = f"<h1>{escape(name)}</h1><p class='amount'>{escape(amount_text(session))}</p>"
    back = escape(session["cancel_url"] or session["success_url"])
    if session["status"] != "open":
        words = "This page has expired." if session["status"] == "expired" else "This has been paid already."
        return _page(name, f"{title}<p role='status'>{words}</p><p><a href='{back}'>Back to the shop</a></p>")
    alert = f"<p class='alert' role='alert'>{escape(message)}</p>" if message else ""
    rows = "".join(
        f"<li><form method='post'><button name='action' value='{value}'>{label}</button></form>"
        f"<span class='note'>{note}</span></li>"
        for value, label, note in CHOICES
        if value != "blik" or "blik" in session["payment_method_types"]
    )
    cancel = f"<p><a id='cancel' href='{back}'>Cancel and go back</a></p>"
    return _page(name, f"{title}{alert}<ul>{rows}</ul>{cancel}")


def message_page(title: str, words: str) -> str:
    """Something short."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(words)}</p>")


def dashboard(world: World) -> str:
    """What the account's owner sees: sessions, and buttons for what a buyer's bank may still do."""
    rows = []
    for session in world.all("checkout.session")[:50]:
        intent = session["payment_intent"]
        buttons = "".join(
            f"<form method='post' action='/dashboard'><input type='hidden' name='payment_intent' value='{intent}'>"
            f"<button name='action' value='{value}'>{label}</button></form>"
            for value, label in (("refund", "Refund"), ("dispute", "Dispute"))
            if session["payment_status"] == "paid" and intent
        )
        rows.append(
            f"<tr><td><a href='/c/pay/{session['id']}'>{session['id'][:20]}…</a></td>"
            f"<td>{escape(amount_text(session))}</td><td>{session['status']}, {session['payment_status']}</td>"
            f"<td>{buttons}</td></tr>"
        )
    head = "<tr><th>Session</th><th>Amount</th><th>Status</th><th></th></tr>"
    return _page("Payments", f"<h1>Payments</h1><table>{head}{''.join(rows)}</table>")
