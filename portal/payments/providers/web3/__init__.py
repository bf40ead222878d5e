"""Tokens sent straight to the shop: an address for each try, derived from a public key, and the chain itself as proof.

No key that could move money is on the portal's host. What came is read from the chain by JSON-RPC; a message that
claims a payment is never more than a reason to look.
"""
