"""A chain of our own for tests: a real EVM in this process, and nodes that serve it over real JSON-RPC."""

from tests.fakes.chain.evm import Chain, Token
from tests.fakes.chain.node import FakeNode

__all__ = ["Chain", "FakeNode", "Token"]
