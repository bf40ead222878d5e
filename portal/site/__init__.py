"""Pages that belong to no part of the shop: the start page, a customer's overview, and the choice of language."""
