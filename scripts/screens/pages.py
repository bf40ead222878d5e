"""Which addresses are pages that need a picture, and which pictures are taken in the dark as well."""

import re

# Addresses that answer with no page of their own.
_NO_PAGE = re.compile(
    # Files, and what programs ask for.
    r"static|.*(pdf|_csv|_json|_file|_mesh|_picture|photo|_label|attachment|letter_html)|admin\.export_price_book|pay\.brand"
    r"|quotes\.paper|health\..*|api\..*|sites_api\..*|payments\.session_status"
    # Parts of pages.
    r"|cart\.badge|quotes\.(price|item)|admin\.quote_margin|production\.progress"
    # They lead on to another page.
    r"|site\.set_locale|purchases\.open_link|sites\.purchase_form|accounts\.verify_resend|pay\.cancelled"
    # The gallery for those who build pages.
    r"|dev_ui\..*"
)
# These are pages for all their name.
_PAGES = {"admin.site_file"}
IN_THE_DARK = {
    "site-home", "catalogue-index", "catalogue-detail", "cart-drawer", "checkout-review", "returned-paid",
    "customer-dashboard", "orders-detail", "quotes-detail", "quotes-model", "sales-order", "tracking-show",
    "pay-show", "merchant-overview", "purchases-show", "sites-index", "sites-detail", "sites-my-site",
    "sites-change", "admin-statistics",
    "admin-home", "admin-panel", "admin-order", "admin-production", "admin-quote", "admin-webhook", "admin-site",
    "web3-show", "mail-order-confirmation",
}  # fmt: skip


def is_page(endpoint: str) -> bool:
    """Whether people see a page at this address."""
    return endpoint in _PAGES or _NO_PAGE.fullmatch(endpoint) is None


def name_of(endpoint: str) -> str:
    """What the pictures of a page are called unless it is shown in a special state."""
    return endpoint.replace(".", "-").replace("_", "-")
