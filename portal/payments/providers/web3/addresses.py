"""Deposit addresses from an extended public key (BIP-32, BIP-44 receive branch `0/index`).

A public key is all there is: whoever reads this host's memory can see every address and spend from none.
See https://github.com/bitcoin/bips/blob/master/bip-0032.mediawiki and https://eips.ethereum.org/EIPS/eip-55.
"""

import hmac
from dataclasses import dataclass
from hashlib import sha256, sha512

from coincurve import PublicKey
from Crypto.Hash import keccak

_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PUBLIC = {bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")}
_PRIVATE = {bytes.fromhex("0488ade4"), bytes.fromhex("04358394")}
_LENGTH, _CHECKSUM = 78, 4
_LONGEST_TEXT = 120
_RECEIVE = 0
# From here on indexes are hardened, which takes the private key.
MOST_INDEXES = 2**31


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """A public key and the chain code with which keys below it are derived."""

    point: bytes  # Compressed, 33 bytes.
    chain_code: bytes

    def child(self, index: int) -> "ExtendedKey":
        """The key below, for an index that is not hardened. Raises ValueError."""
        if not 0 <= index < MOST_INDEXES:
            raise ValueError("no such key below a public key")
        mixed = hmac.new(self.chain_code, self.point + index.to_bytes(4, "big"), sha512).digest()
        # Raises ValueError once in 2^127 indexes; the standard says to take the next one then.
        return ExtendedKey(PublicKey(self.point).add(mixed[:32]).format(), mixed[32:])


def read_xpub(text: str) -> ExtendedKey:
    """Read an `xpub…` or `tpub…`. Raises ValueError, which never repeats the text: it might be a private key."""
    raw = _base58check(text.strip())
    version, key = raw[:4], raw[45:]
    if version in _PRIVATE or key[0] == 0:
        raise ValueError("is a PRIVATE key: anyone who reads it can take the money. Give the extended public key")
    if version not in _PUBLIC:
        raise ValueError("is not an extended public key that begins with xpub or tpub")
    try:
        PublicKey(key)
    except ValueError:
        raise ValueError("holds no point of the curve") from None
    return ExtendedKey(key, raw[13:45])


def deposit_address(account: ExtendedKey, index: int) -> str:
    """The address of one deposit, with its checksum. Raises ValueError."""
    point = PublicKey(account.child(_RECEIVE).child(index).point).format(compressed=False)
    return with_checksum("0x" + _keccak(point[1:])[-20:].hex())


def with_checksum(address: str) -> str:
    """An address with the capital letters that catch a typing mistake (EIP-55)."""
    plain = address[2:].lower()
    marks = _keccak(plain.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(mark, 16) >= 8 else letter for letter, mark in zip(plain, marks, strict=False)
    )


def _keccak(data: bytes) -> bytes:
    return bytes(keccak.new(digest_bits=256, data=data).digest())


def _base58check(text: str) -> bytes:
    if len(text) > _LONGEST_TEXT or any(letter not in _LETTERS for letter in text):
        raise ValueError("is not an extended public key")
    number = 0
    for letter in text:
        number = number * 58 + _LETTERS.index(letter)
    try:
        raw = number.to_bytes(_LENGTH + _CHECKSUM, "big")
    except OverflowError:
        raise ValueError("is not an extended public key") from None
    body, checksum = raw[:_LENGTH], raw[_LENGTH:]
    if sha256(sha256(body).digest()).digest()[:_CHECKSUM] != checksum:
        raise ValueError("is not an extended public key, or has a typing mistake")
    return body
