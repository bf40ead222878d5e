"""The built-in sandbox: a payment company of our own for trying things out, with pages and signed webhooks."""
