"""What the business does between the shelf and the receipt. Only these functions write carts, orders and enrolments."""
