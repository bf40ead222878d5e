"""What the money core does: open sessions, start attempts, accept webhooks, settle, ask providers."""
