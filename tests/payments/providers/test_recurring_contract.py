"""What every provider that charges again by itself must do, whoever it is."""

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    FetchResult,
    NormalisedEvent,
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    TakesSubscriptions,
)
from tests.payments.providers.harness import SESSION_ID, SILENT_ABOUT_CHARGES, RecurringHarness, asked, currency_of


def begun(harness: RecurringHarness) -> tuple[str, NormalisedEvent]:
    """A subscription that was paid for the first time: its page, and the fact."""
    reference = harness.provider.start(asked(harness, every_months=1)).reference
    harness.pay(reference)
    fact = harness.provider.fetch(reference).event
    assert fact is not None
    return reference, fact


def subscriptions(harness: RecurringHarness) -> TakesSubscriptions:
    assert isinstance(harness.provider, TakesSubscriptions)
    return harness.provider


def reference_of(fact: NormalisedEvent) -> str:
    assert fact.subscription_reference is not None
    return fact.subscription_reference


def told(harness: RecurringHarness, *, since: int = 0) -> list[NormalisedEvent]:
    """What the core learns by webhooks: the facts in them, and what asking about their hints says."""
    found = []
    for headers, body in harness.all_webhooks()[since:]:
        for fact in harness.provider.parse_webhook(headers, body, at=clock.now()).events:
            learned = fact
            if fact.outcome is Outcome.HINT:
                assert fact.attempt_reference is not None
                learned = harness.provider.fetch(fact.attempt_reference).event or fact
            if learned.outcome is not Outcome.IGNORED:
                found.append(learned)
    return found


def facts_in(answer: FetchResult) -> list[NormalisedEvent]:
    return [fact for fact in (answer.event, *answer.more) if fact is not None]


def test_the_first_payment_names_the_subscription(charging: RecurringHarness) -> None:
    reference, fact = begun(charging)
    assert (fact.outcome, fact.session_id, fact.attempt_reference) == (Outcome.PAID, SESSION_ID, reference)
    assert (fact.amount_minor, fact.currency, fact.is_test) == (4900, currency_of(charging), True)
    assert fact.subscription_reference
    assert fact.payment_reference
    paid = [one for one in told(charging) if one.outcome is Outcome.PAID]
    assert {(one.business_key, one.subscription_reference, one.payment_reference) for one in paid} == {
        (fact.business_key, fact.subscription_reference, fact.payment_reference)
    }


def test_asked_for_once_it_is_no_subscription(charging: RecurringHarness) -> None:
    reference = charging.provider.start(asked(charging)).reference
    charging.pay(reference)
    fact = charging.provider.fetch(reference).event
    assert fact is not None
    assert fact.subscription_reference is None


def test_start_repeated_gives_the_same_page(charging: RecurringHarness) -> None:
    wanted = asked(charging, every_months=1)
    assert charging.provider.start(wanted) == charging.provider.start(wanted)


def test_each_renewal_is_money_of_its_own_under_one_key(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    keys, payments = {first.business_key}, {first.payment_reference}
    for month in range(2):
        before = len(charging.all_webhooks())
        charging.renew(reference_of(first))
        facts = told(charging, since=before)
        assert {one.outcome for one in facts} == {Outcome.PAID}
        assert {one.subscription_reference for one in facts} == {first.subscription_reference}
        assert {(one.amount_minor, one.currency) for one in facts} == {(4900, currency_of(charging))}
        assert {one.session_id for one in facts} == {SESSION_ID}
        keys |= {one.business_key for one in facts}
        payments |= {one.payment_reference for one in facts}
        assert len(keys) == len(payments) == month + 2


def test_asking_tells_the_newest_charge_under_its_webhooks_key(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    before = len(charging.all_webhooks())
    charging.renew(reference_of(first))
    [key] = {one.business_key for one in told(charging, since=before)}
    answer = subscriptions(charging).fetch_subscription(reference_of(first))
    is_silent = charging.provider.name in SILENT_ABOUT_CHARGES
    assert [one.business_key for one in facts_in(answer)] == ([] if is_silent else [key])


def test_a_renewal_is_given_back_in_full(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    before = len(charging.all_webhooks())
    charging.renew(reference_of(first))
    [payment] = {one.payment_reference for one in told(charging, since=before)}
    assert payment is not None
    can = charging.provider.capabilities
    amount = Money(4900, currency_of(charging)) if can.partial_refund else None
    given = charging.provider.refund(RefundRequest(payment, amount, "refund:1", "requested_by_customer"))
    assert given.status in ("pending", "succeeded")


def test_a_failed_renewal_is_told_and_is_no_failed_payment(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    before = len(charging.all_webhooks())
    charging.fail_renewal(reference_of(first))
    facts = told(charging, since=before)
    assert {one.outcome for one in facts} == {Outcome.RENEWAL_FAILED}
    assert {one.subscription_reference for one in facts} == {first.subscription_reference}
    assert all(one.due_at is None or one.due_at > clock.now() for one in facts)


def test_cancelling_ends_it_and_says_so(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    reference, before = reference_of(first), len(charging.all_webhooks())
    subscriptions(charging).cancel_subscription(reference)
    facts = told(charging, since=before)
    assert {(one.outcome, one.subscription_reference) for one in facts} == {(Outcome.SUBSCRIPTION_ENDED, reference)}
    answer = subscriptions(charging).fetch_subscription(reference)
    assert answer.outcome is Outcome.SUBSCRIPTION_ENDED
    assert Outcome.SUBSCRIPTION_ENDED in {one.outcome for one in facts_in(answer)}


def test_cancelling_twice_is_harmless(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    subscriptions(charging).cancel_subscription(reference_of(first))
    subscriptions(charging).cancel_subscription(reference_of(first))
    assert subscriptions(charging).fetch_subscription(reference_of(first)).outcome is Outcome.SUBSCRIPTION_ENDED


def test_an_unknown_subscription_is_refused(charging: RecurringHarness) -> None:
    for call in (subscriptions(charging).cancel_subscription, subscriptions(charging).fetch_subscription):
        with pytest.raises(ProviderRejected) as refusal:
            call("sub_unknown")
        assert refusal.value.reason == "resource_missing"


def test_without_an_answer_nothing_is_known(charging: RecurringHarness) -> None:
    _page, first = begun(charging)
    for call in (subscriptions(charging).cancel_subscription, subscriptions(charging).fetch_subscription):
        with charging.down(), pytest.raises(ProviderUnavailable) as trouble:
            call(reference_of(first))
        assert trouble.value.is_answered is False
