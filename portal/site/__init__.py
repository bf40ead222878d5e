"""Pages that belong to no part of the shop: the start page and the choice of language."""
