"""The pages of the cart, of checkout, of orders and of what a customer owns."""
