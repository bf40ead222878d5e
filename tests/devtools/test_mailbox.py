"""The development mailbox: every mail readable, nothing else reachable, and not there in production."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import create_app
from portal.core import mail

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def folder(app: Flask) -> Path:
    path = mail.mailbox_folder()
    path.mkdir(parents=True, exist_ok=True)
    return path


def name_of(number: int) -> str:
    return f"{(START + timedelta(minutes=number)).strftime('%Y%m%dT%H%M%S%f')}-1700{number:04d}"


def put(
    folder: Path, number: int = 1, *, subject: str = "Dziękujemy za zakup", html: str | None = None, **files: bytes
) -> str:
    """Put a mail into the mailbox as the portal does; returns its name."""
    letter = EmailMessage()
    letter["Subject"] = subject
    letter["From"] = "Atelier Nord <no-reply@atelier-nord.example>"
    letter["To"] = "kunegunda@example.com"
    letter["Date"] = START + timedelta(minutes=number)
    letter.set_content("Zażółć gęślą jaźń: http://localhost/verify/abc?x=1\nhttp://localhost/verify/abc?x=1")
    if html is not None:
        letter.add_alternative(html, subtype="html")
    for name, content in files.items():
        letter.add_attachment(content, maintype="application", subtype="pdf", filename=name.replace("_", "."))
    name = name_of(number)
    (folder / f"{name}.eml").write_bytes(bytes(letter))
    return name


def test_an_empty_mailbox_says_so(app: Flask, client: FlaskClient) -> None:
    assert "No mail yet" in client.get("/dev/mailbox").get_data(as_text=True)


def test_a_mailbox_whose_folder_was_never_made_is_empty(app: Flask, client: FlaskClient) -> None:
    settings = app.config["MAILBOX_PATH"]
    app.config["MAILBOX_PATH"] = str(Path(settings) / "never" / "made")
    try:
        assert client.get("/dev/mailbox").status_code == 200
    finally:
        app.config["MAILBOX_PATH"] = settings


def test_mails_are_listed_newest_first(folder: Path, client: FlaskClient) -> None:
    put(folder, 1, subject="The older one")
    put(folder, 2, subject="Żółty nowszy")
    text = client.get("/dev/mailbox").get_data(as_text=True)
    assert text.index("Żółty nowszy") < text.index("The older one")
    assert "kunegunda@example.com" in text


def test_the_list_is_paged_both_ways(folder: Path, client: FlaskClient) -> None:
    for number in range(60):
        put(folder, number, subject=f"Mail {number:02d}")

    def subjects(path: str) -> list[int]:
        text = client.get(path).get_data(as_text=True)
        return [number for number in range(60) if f"Mail {number:02d}<" in text]

    assert subjects("/dev/mailbox") == list(range(35, 60))
    assert subjects(f"/dev/mailbox?before={name_of(35)}") == list(range(10, 35))
    assert subjects(f"/dev/mailbox?before={name_of(10)}") == list(range(10))
    assert subjects(f"/dev/mailbox?after={name_of(34)}") == list(range(35, 60))
    assert subjects(f"/dev/mailbox?after={name_of(9)}") == list(range(10, 35))
    assert 'rel="next"' not in client.get(f"/dev/mailbox?before={name_of(10)}").get_data(as_text=True)
    for odd in ("before=../../etc/passwd", "before=%00", "after=zzz", "before=" + "9" * 5000):
        assert client.get(f"/dev/mailbox?{odd}").status_code == 200


def test_one_mail_with_headers_text_links_and_files(folder: Path, client: FlaskClient) -> None:
    name = put(
        folder, html='<a href="http://localhost/library">Open</a><a href="mailto:x@y">x</a>', invoice_pdf=b"%PDF-1.7 x"
    )
    text = client.get(f"/dev/mailbox/{name}").get_data(as_text=True)
    for expected in (
        "Dziękujemy za zakup", "no-reply@atelier-nord.example", "Zażółć gęślą jaźń", "MIME-Version",
        'href="http://localhost/library"', f'src="/dev/mailbox/{name}/html"', "invoice.pdf",
    ):  # fmt: skip
        assert expected in text, expected
    assert text.count('<a href="http://localhost/verify/abc?x=1"') == 1
    assert 'href="mailto:' not in text


def test_its_html_stands_in_a_frame_that_can_do_nothing(folder: Path, client: FlaskClient) -> None:
    name = put(
        folder,
        html="<html><head><style>p{color:red}</style></head><body><p>Cześć</p><script>alert(1)</script></body></html>",
    )
    page = client.get(f"/dev/mailbox/{name}")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.get_data(as_text=True)
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    frame = client.get(f"/dev/mailbox/{name}/html")
    policy = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "style-src 'unsafe-inline'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "sandbox" in policy
    for opened in ("script-src", "allow-scripts", "allow-same-origin", "allow-forms", "connect-src"):
        assert opened not in policy
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    text = frame.get_data(as_text=True)
    assert '<head><base target="_blank">' in text
    assert "Cześć" in text


def test_other_pages_may_not_be_framed(client: FlaskClient) -> None:
    response = client.get("/dev/mailbox")
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_a_mail_without_html_has_no_frame(folder: Path, client: FlaskClient) -> None:
    name = put(folder)
    assert "<iframe" not in client.get(f"/dev/mailbox/{name}").get_data(as_text=True)
    assert client.get(f"/dev/mailbox/{name}/html").status_code == 404


def test_a_file_is_a_download_whatever_it_claims_to_be(folder: Path, client: FlaskClient) -> None:
    name = put(folder, INV_pdf=b"%PDF-1.7 first", page_html=b"<script>alert(1)</script>")
    first, second = client.get(f"/dev/mailbox/{name}/files/1"), client.get(f"/dev/mailbox/{name}/files/2")
    assert (first.data, second.data) == (b"%PDF-1.7 first", b"<script>alert(1)</script>")
    for response, filename in ((first, "INV.pdf"), (second, "page.html")):
        assert response.headers["Content-Disposition"] == f"attachment; filename={filename}"
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for number in ("0", "3", "-1", "x", "9" * 400):
        assert client.get(f"/dev/mailbox/{name}/files/{number}").status_code == 404


@pytest.mark.parametrize(
    "filename",
    ["../../etc/passwd", "a\r\nSet-Cookie: x=1", '"; filename="evil.exe', "ż" * 300, ".hidden", "\x00", "/", ""],
)
def test_a_files_name_cannot_do_harm(folder: Path, client: FlaskClient, filename: str) -> None:
    name = name_of(1)
    raw = (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nhello\r\n--b\r\n"
        b"Content-Type: text/html\r\nContent-Disposition: attachment; filename*=utf-8''"
        + "".join(f"%{byte:02x}" for byte in filename.encode()).encode()
        + b"\r\n\r\ncontent\r\n--b--\r\n"
    )
    (folder / f"{name}.eml").write_bytes(raw)
    assert client.get(f"/dev/mailbox/{name}").status_code == 200
    response = client.get(f"/dev/mailbox/{name}/files/1")
    assert response.status_code == 200
    assert response.data.strip() == b"content"
    disposition = response.headers["Content-Disposition"]
    assert "/" not in disposition
    assert "\n" not in disposition
    assert "evil.exe;" not in disposition
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "../portal.db", "..%2f..%2fetc%2fpasswd", "%2e%2e", "/etc/passwd", "x" * 5000, "%00",
        "20261121T090100000000-17000001.eml", "20261121T090100000000-1700 0001", "20261121T090100000000-", "ż",
        "20261121T090100000000-17000001%00", "20261121T090100000000-17000001%0a", "20261121T090100000000-9",
    ],
)  # fmt: skip
def test_nothing_else_can_be_read(folder: Path, client: FlaskClient, name: str) -> None:
    put(folder)
    (folder.parent / "secret.eml").write_text("Subject: secret\n\nsecret")
    (folder / "secret.eml").write_text("Subject: secret\n\nsecret")
    (folder / ".20261121T090100000000-draft").write_text("Subject: secret\n\nsecret")
    for path in (f"/dev/mailbox/{name}", f"/dev/mailbox/{name}/html", f"/dev/mailbox/{name}/files/1"):
        assert client.get(path).status_code in (404, 308), path
    assert "secret" not in client.get("/dev/mailbox").get_data(as_text=True)


def test_what_a_mail_says_is_text(folder: Path, client: FlaskClient) -> None:
    name = put(folder, subject=HOSTILE, html=f"<p>{HOSTILE}</p>")
    for path in ("/dev/mailbox", f"/dev/mailbox/{name}"):
        text = client.get(path).get_data(as_text=True)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00\xff\xfe", b"no headers at all", b"Subject: =?utf-8?b?////?=\n\n\xff",
        b"Date: not a date\nContent-Type: text/plain; charset=unheard-of\n\nabc",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=x\n\n--x",
        b"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n!!!!", b"Date: Sat, 21 Nov 2026 09:00:00\n\nhttp://[bad",
    ],
)  # fmt: skip
def test_a_broken_file_breaks_no_page(folder: Path, client: FlaskClient, raw: bytes) -> None:
    name = name_of(1)
    (folder / f"{name}.eml").write_bytes(raw)
    assert client.get("/dev/mailbox").status_code == 200
    assert client.get(f"/dev/mailbox/{name}").status_code == 200


def test_it_does_not_exist_in_production(app: Flask) -> None:
    production = create_app(replace(app.config["SETTINGS"], portal_env="production", sandbox_enabled=False))
    rules = [rule.rule for rule in production.url_map.iter_rules()]
    assert not [rule for rule in rules if rule.startswith(("/dev", "/sandbox"))]
    assert [rule.rule for rule in app.url_map.iter_rules() if rule.rule == "/dev/mailbox"]


def test_the_sandbox_is_not_in_production_even_when_switched_on(app: Flask) -> None:
    production = create_app(replace(app.config["SETTINGS"], portal_env="production", sandbox_enabled=True))
    assert not [rule for rule in production.url_map.iter_rules() if rule.rule.startswith("/sandbox")]
    assert "sandbox" not in [provider.name for provider in production.extensions["payment_registry"].enabled()]
