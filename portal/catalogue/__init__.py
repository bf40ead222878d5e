"""Automation packages, their processes, and bundles of them."""
