"""The companies that subscriptions are tested with."""

from tests.payments.conftest import fake_stripe

__all__ = ["fake_stripe"]
