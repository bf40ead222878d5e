"""Deposit addresses: those that wallets derive, and never from a private key."""

from hashlib import sha256

import pytest
from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic

from portal.payments.providers.web3.addresses import (
    MOST_INDEXES,
    deposit_address,
    read_xpub,
    with_checksum,
)
from tests.fakes.chain.wallet import encode, xprv_of, xpub_of

WORDS = "test test test test test test test test test test test junk"
# BIP-32, test vector 2: m/0 and its child 0 of another branch, and test vector 1's master.
MASTER = (
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"
)
CHILD_0 = (
    "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"
)


@pytest.mark.parametrize("index", [0, 1, 2, 19, 20, 1_000, MOST_INDEXES - 1])
def test_addresses_are_the_wallets(index: int) -> None:
    Account.enable_unaudited_hdwallet_features()
    account = read_xpub(xpub_of(seed_from_mnemonic(WORDS, "")))
    theirs = Account.from_mnemonic(WORDS, account_path=f"m/44'/60'/0'/0/{index}").address
    assert deposit_address(account, index) == theirs


def test_children_are_those_of_the_standards_vector() -> None:
    assert read_xpub(MASTER).child(0) == read_xpub(CHILD_0)


@pytest.mark.parametrize("index", [-1, MOST_INDEXES, MOST_INDEXES + 1])
def test_there_are_no_hardened_keys_below_a_public_one(index: int) -> None:
    with pytest.raises(ValueError, match="no such key"):
        read_xpub(MASTER).child(index)


@pytest.mark.parametrize(
    "address",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_capital_letters_follow_the_standard(address: str) -> None:
    assert with_checksum(address.lower()) == address


def test_a_private_key_is_refused_loudly_and_not_repeated() -> None:
    secret = xprv_of(sha256(b"seed").digest())
    with pytest.raises(ValueError, match="PRIVATE") as refusal:
        read_xpub(secret)
    assert secret[10:30] not in str(refusal.value)


def test_a_private_key_under_a_public_ones_version_is_refused() -> None:
    disguised = encode(bytes.fromhex("0488b21e"), bytes(32), b"\0" + bytes(31) + b"\1")
    with pytest.raises(ValueError, match="PRIVATE"):
        read_xpub(disguised)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xpub",
        MASTER[:-1],
        MASTER + "1",
        MASTER[:-1] + "C",
        MASTER.replace("W", "0", 1),
        "é" * 111,
        "z" * 120,
        "z" * 5_000,
        encode(bytes.fromhex("049d7cb2"), bytes(32), bytes.fromhex("02" + "11" * 32)),
        encode(bytes.fromhex("0488b21e"), bytes(32), b"\2" + b"\xff" * 32),
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"extended public key|no point"):
        read_xpub(text)


def test_a_test_networks_key_is_one_too() -> None:
    point = read_xpub(MASTER).point
    assert read_xpub(encode(bytes.fromhex("043587cf"), bytes(32), point)).point == point
