"""Reads for the back office's screens. Lists are paged by key, counts stop at a limit, nothing counts a table."""
