"""What a browser is called on the security page."""

import pytest
from flask import Flask

from portal.accounts.queries import device_of

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15"
WINDOWS, MAC = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6)"
IPHONE, ANDROID = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", "Mozilla/5.0 (Linux; Android 14; SM-S921B)"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"{WINDOWS} {CHROME}", "Chrome on Windows"),
        (f"{WINDOWS} {CHROME} Edg/131.0", "Edge on Windows"),
        (f"{WINDOWS} {CHROME} OPR/116.0", "Opera on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "Firefox on Linux"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541) {CHROME}", "Chrome on ChromeOS"),
        (f"{MAC} {SAFARI}", "Safari on Mac"),
        (f"{IPHONE} {SAFARI}", "Safari on iPhone"),
        (f"{IPHONE} {SAFARI} CriOS/131.0", "Chrome on iPhone"),
        (f"{ANDROID} SamsungBrowser/27.0 {CHROME}", "Samsung Internet on Android"),
        ("curl/8.11.0", "curl"),
        ("", "Unknown device"),
        ("<script>alert(1)</script>", "Unknown device"),
    ],
)
def test_device_of(app: Flask, user_agent: str, name: str) -> None:
    device = device_of(user_agent)
    assert device.name == name
    assert device.icon == ("device-mobile" if name.endswith(("iPhone", "Android")) else "device-desktop")
