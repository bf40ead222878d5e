"""The development mailbox at /dev/mailbox: every mail that was sent while no SMTP server is configured."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, request, send_file
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import htmx, mail
from portal.core.access import public
from portal.core.errors import NotFound
from portal.core.paging import Page
from portal.core.web import CONTENT_SECURITY_POLICY

bp = Blueprint("devtools", __name__, url_prefix="/dev/mailbox")

# What portal.core.mail calls its files. Nothing else is ever opened, whatever the address says.
_NAME = re.compile(r"[0-9]{8}T[0-9]{12}-[A-Za-z0-9_-]{1,32}")
_ADDRESS = re.compile(r"https?://[^\s<>\"']+")
# What HTML cannot hold, however it is written.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_PAGE_SIZE = 25
# A mail brings its own styles and nothing else: no script, no form, no picture from elsewhere. Its links open apart.
_LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the list shows of a mail."""

    name: str
    subject: str
    sender: str
    to: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that came with a mail."""

    name: str
    media_type: str
    content: bytes


@bp.get("")
@public
def mailbox() -> ResponseReturnValue:
    """The mails, newest first."""
    page = _page(request.args.get("before"), request.args.get("after"))
    return htmx.render("devtools/mailbox.html", fragment="devtools/_mails.html", page=page)


@bp.get("/<name>")
@public
def letter(name: str) -> ResponseReturnValue:
    """One mail: its headers, its HTML in a frame of its own, its text, links and files."""
    message = _read(name)
    text, html = _body(message, "plain"), _body(message, "html")
    response = htmx.render(
        "devtools/letter.html",
        envelope=_envelope(name, message),
        headers=[(field, str(value)) for field, value in message.items()],
        text=text,
        has_html=html is not None,
        links=_links(text or "", html or ""),
        files=_attachments(message),
    )
    response.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
    return response


@bp.get("/<name>/html")
@public
def letter_html(name: str) -> ResponseReturnValue:
    """The HTML of a mail, for the frame."""
    html = _body(_read(name), "html")
    if html is None:
        raise NotFound(_("This mail has no HTML part."))
    # A link in the frame would lead to a page that refuses to be framed, so all of them open apart.
    head = re.search(r"<head[^>]*>", html, re.IGNORECASE)
    cut = head.end() if head else 0
    response = make_response(f'{html[:cut]}<base target="_blank">{html[cut:]}')
    response.headers["Content-Security-Policy"] = _LETTER_POLICY
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


@bp.get("/<name>/files/<int:number>")
@public
def attachment(name: str, number: int) -> ResponseReturnValue:
    """One file of a mail, always as a download."""
    files = _attachments(_read(name))
    if not 0 < number <= len(files):
        raise NotFound
    file = files[number - 1]
    response: Response = send_file(
        BytesIO(file.content), mimetype="application/octet-stream", as_attachment=True, download_name=file.name
    )
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _page(before: str | None, after: str | None) -> Page[Envelope]:
    """One page of the folder by file name, which begins with the time of sending."""
    names = sorted((path.stem for path in mail.mailbox_folder().glob("*.eml")), reverse=True)
    names = [name for name in names if _NAME.fullmatch(name)]
    if after:
        newer = [name for name in names if name > after]
        shown = newer[-_PAGE_SIZE:]
    else:
        shown = [name for name in names if not before or name < before][:_PAGE_SIZE]
    return Page(
        rows=[_peek(name) for name in shown],
        older=shown[-1] if shown and shown[-1] != names[-1] else None,
        newer=shown[0] if shown and shown[0] != names[0] else None,
    )


def _path(name: str) -> Path:
    path = mail.mailbox_folder() / f"{name}.eml"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise NotFound(_("This mail is not in the mailbox."))
    return path


def _read(name: str) -> EmailMessage:
    return message_from_bytes(_path(name).read_bytes(), _class=EmailMessage, policy=policy.default)


def _peek(name: str) -> Envelope:
    with _path(name).open("rb") as file:
        return _envelope(name, BytesHeaderParser(_class=EmailMessage, policy=policy.default).parse(file))


def _envelope(name: str, message: EmailMessage) -> Envelope:
    try:
        sent_at = parsedate_to_datetime(str(message["Date"]))
    except ValueError:
        sent_at = None
    return Envelope(
        name=name,
        subject=str(message["Subject"] or ""),
        sender=str(message["From"] or ""),
        to=str(message["To"] or ""),
        sent_at=sent_at if sent_at and sent_at.tzinfo else None,
    )


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    if part is None:
        return None
    try:
        text = str(part.get_content())
    except (LookupError, UnicodeError):  # A character set nobody knows.
        raw = part.get_payload(decode=True)
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""
    return _CONTROL.sub("\ufffd", text)


def _attachments(message: EmailMessage) -> list[Attached]:
    files = []
    for part in message.iter_attachments():
        content = part.get_payload(decode=True)
        name = re.sub(r"[^\w .()+-]", "_", part.get_filename() or "file")[-120:].lstrip(".") or "file"
        files.append(Attached(name, part.get_content_type(), content if isinstance(content, bytes) else b""))
    return files


class _Targets(HTMLParser):
    """Collects where the links of a document lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the target of a link."""
        self.found.extend(value for name, value in attrs if tag == "a" and name == "href" and value)


def _links(text: str, html: str) -> list[str]:
    """Every web address in a mail once, in the order of appearance."""
    targets = _Targets()
    targets.feed(html)
    return list(dict.fromkeys(_web_only([*_ADDRESS.findall(text), *targets.found])))


def _web_only(addresses: Iterable[str]) -> list[str]:
    return [address for address in addresses if _is_web(address)]


def _is_web(address: str) -> bool:
    try:
        return urlsplit(address).scheme in ("http", "https")
    except ValueError:
        return False
