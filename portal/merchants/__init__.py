"""Merchants: who else sells through the portal, their keys, the JSON API and the hosted pay page."""
