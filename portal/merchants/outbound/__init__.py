"""Webhooks to merchants: what happened to their payments, told to their own programs, signed and at least once."""
