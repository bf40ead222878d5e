"""What the business does with hosted sites. Only these functions write them."""
