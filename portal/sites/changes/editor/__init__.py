"""The editor service that drafts changes: what it is told, how it is called, and what of its answer is believed."""
