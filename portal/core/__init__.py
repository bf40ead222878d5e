"""What every domain stands on: no business words, no import of a domain."""
