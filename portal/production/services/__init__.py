"""What the business does with sales orders."""
