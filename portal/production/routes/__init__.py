"""The customer's pages of printed parts that were ordered."""
