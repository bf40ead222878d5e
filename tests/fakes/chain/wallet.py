"""A wallet's side of BIP-32: the private half, which the portal never sees."""

import hmac
from hashlib import sha256, sha512

from coincurve import PrivateKey

_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HARDENED = 2**31
ACCOUNT_PATH = (HARDENED + 44, HARDENED + 60, HARDENED)


def _account(seed: bytes) -> tuple[bytes, bytes]:
    mixed = hmac.new(b"Bitcoin seed", seed, sha512).digest()
    key, chain_code = mixed[:32], mixed[32:]
    for index in ACCOUNT_PATH:
        mixed = hmac.new(chain_code, b"\0" + key + index.to_bytes(4, "big"), sha512).digest()
        key = ((int.from_bytes(mixed[:32], "big") + int.from_bytes(key, "big")) % _ORDER).to_bytes(32, "big")
        chain_code = mixed[32:]
    return key, chain_code


def xpub_of(seed: bytes) -> str:
    """The extended public key of a seed's first account, m/44'/60'/0'."""
    key, chain_code = _account(seed)
    return encode(bytes.fromhex("0488b21e"), chain_code, PrivateKey(key).public_key.format())


def xprv_of(seed: bytes) -> str:
    """The extended private key of the same account: what must never be configured."""
    key, chain_code = _account(seed)
    return encode(bytes.fromhex("0488ade4"), chain_code, b"\0" + key)


def encode(version: bytes, chain_code: bytes, key: bytes) -> str:
    """Any 33 bytes as an extended key in base58check."""
    body = version + b"\3" + bytes(4) + HARDENED.to_bytes(4, "big") + chain_code + key
    raw = body + sha256(sha256(body).digest()).digest()[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = _LETTERS[rest] + text
    return text
