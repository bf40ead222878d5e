"""Money is exact: nothing is lost in sums, splits, texts or taxes, whatever the amounts."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from portal.core.money import (
    BASIS_POINTS,
    MAX_MINOR,
    CurrencyMismatch,
    Money,
    digits,
    sum_money,
    tax_included,
)

currencies = st.sampled_from(["PLN", "USD", "EUR", "JPY", "KRW", "KWD", "BHD", "CLP"])
amounts = st.integers(min_value=-(10**15), max_value=10**15)
prices = st.integers(min_value=0, max_value=10**12)
rates = st.integers(min_value=0, max_value=10_000)


@given(amounts, st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=40), currencies)
def test_splitting_loses_nothing(amount: int, weights: list[int], currency: str) -> None:
    assume(sum(weights) > 0)
    parts = Money(amount, currency).allocate(weights)
    assert sum(part.amount_minor for part in parts) == amount
    assert {part.currency for part in parts} == {currency}
    assert len(parts) == len(weights)


@given(amounts, st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=40))
def test_each_part_is_within_one_unit_of_its_share(amount: int, weights: list[int]) -> None:
    assume(sum(weights) > 0)
    for part, weight in zip(Money(amount, "PLN").allocate(weights), weights, strict=True):
        exact = Decimal(amount) * weight / sum(weights)
        assert abs(part.amount_minor - exact) < 1
        if weight == 0:
            assert part.amount_minor == 0


def test_left_over_units_go_to_the_first_parts() -> None:
    assert [part.amount_minor for part in Money(100, "PLN").allocate([1, 1, 1])] == [34, 33, 33]
    assert [part.amount_minor for part in Money(-100, "PLN").allocate([1, 1, 1])] == [-33, -33, -34]
    assert [part.amount_minor for part in Money(5, "PLN").allocate([0, 1, 0, 1])] == [0, 3, 0, 2]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1]])
def test_a_split_by_nothing_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(100, "PLN").allocate(weights)


@given(amounts, currencies)
def test_what_is_written_can_be_read_again(amount: int, currency: str) -> None:
    money = Money(amount, currency)
    assert Money.parse(str(money.to_decimal()), currency) == money
    assert Money.parse(f"{money.to_decimal():f}".replace(".", ","), currency) == money
    assert Money.parse(f" {money.to_decimal():,f} ".replace(",", "\u00a0"), currency) == money


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("69", "PLN", 6900),
        ("69,00", "PLN", 6900),
        ("69.5", "PLN", 6950),
        ("1 234,56", "PLN", 123456),
        ("1\u00a0234,56", "PLN", 123456),
        ("-0.01", "PLN", -1),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("1e2", "PLN", 10000),
        ("1.20000", "PLN", 120),
    ],
)
def test_people_write_amounts_in_their_own_way(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    "text",
    ["", " ", "abc", "1.234", "0.001", "NaN", "Infinity", "-Infinity", "1,234.56", "1.2.3", "--1", "1e-3", "0x10",
     "1e30", "9" * 30, "½", "\x00", "1\n2x", "$5", "1e999999999"],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Money.parse(text, "PLN")


@given(st.text(max_size=30))
def test_reading_raises_value_error_and_nothing_else(text: str) -> None:
    try:
        money = Money.parse(text, "PLN")
    except ValueError:
        return
    assert abs(money.amount_minor) <= MAX_MINOR


@pytest.mark.parametrize("other", ["USD", "EUR"])
def test_two_currencies_never_meet(other: str) -> None:
    mine, theirs = Money(1, "PLN"), Money(1, other)
    for meet in (lambda: mine + theirs, lambda: mine - theirs, lambda: mine < theirs, lambda: mine <= theirs):
        with pytest.raises(CurrencyMismatch):
            meet()
    with pytest.raises(CurrencyMismatch):
        sum_money([mine, theirs], "PLN")
    assert mine != theirs


@pytest.mark.parametrize("currency", ["pln", "PL", "PLNX", "", "PŁN", "12 "])
def test_only_currency_codes_are_currencies(currency: str) -> None:
    with pytest.raises(ValueError, match="currency"):
        Money(1, currency)


@pytest.mark.parametrize("amount", [1.0, "1", Decimal(1), True, None])
def test_only_whole_numbers_are_amounts(amount: object) -> None:
    with pytest.raises(TypeError):
        Money(amount, "PLN")  # type: ignore[arg-type]  # the point of the test


def test_an_amount_fits_its_column() -> None:
    assert Money(MAX_MINOR, "PLN").amount_minor == MAX_MINOR
    for amount in (MAX_MINOR + 1, -MAX_MINOR - 1):
        with pytest.raises(ValueError, match="64 bits"):
            Money(amount, "PLN")
    with pytest.raises(ValueError, match="64 bits"):
        Money(MAX_MINOR, "PLN") + Money(1, "PLN")


@given(amounts, amounts, currencies, st.integers(min_value=-100, max_value=100))
def test_sums_are_those_of_whole_numbers(left: int, right: int, currency: str, count: int) -> None:
    a, b = Money(left, currency), Money(right, currency)
    assert (a + b).amount_minor == left + right
    assert (a - b) + b == a
    assert (a * count).amount_minor == left * count
    assert (a < b) == (left < right)
    assert (a <= b) == (left <= right)
    assert sum_money([a, b, a], currency) == Money(2 * left + right, currency)
    assert sum_money([], currency) == Money(0, currency)


@pytest.mark.parametrize(("currency", "places"), [("PLN", 2), ("JPY", 0), ("KWD", 3), ("XXX", 2)])
def test_every_currency_has_its_digits(currency: str, places: int) -> None:
    assert digits(currency) == places
    assert Money(12345, currency).to_decimal() == Decimal(12345) / 10**places


@given(prices, rates)
def test_the_tax_inside_a_price_is_rounded_half_up_once(gross: int, rate: int) -> None:
    tax = tax_included(gross, rate)
    exact = Decimal(gross) * rate / (BASIS_POINTS + rate)
    assert abs(tax - exact) <= Decimal("0.5")
    assert tax == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert 0 <= tax <= gross


@given(prices, rates)
def test_net_and_tax_give_the_price_back(gross: int, rate: int) -> None:
    net = gross - tax_included(gross, rate)
    # Whoever adds the tax to the net again is at most one unit away.
    again = net + Decimal(net) * rate / BASIS_POINTS
    assert abs(again - gross) <= Decimal(1) + Decimal(rate) / BASIS_POINTS


@pytest.mark.parametrize(
    ("gross", "rate", "tax"),
    [(6900, 2300, 1290), (100, 0, 0), (0, 2300, 0), (1, 2300, 0), (3, 2300, 1), (10800, 800, 800)],
)
def test_taxes_that_can_be_looked_up(gross: int, rate: int, tax: int) -> None:
    assert tax_included(gross, rate) == tax


def test_money_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Money(1, "PLN").amount_minor = 2  # type: ignore[misc]  # the point of the test
