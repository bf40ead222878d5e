"""Pages of merchants, of those who pay them, and of their customers."""
