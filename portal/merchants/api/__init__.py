"""The JSON API for merchants' programs: a thin adapter over the same services as the pages."""
