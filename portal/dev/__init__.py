"""`make run`: the whole portal on one machine, with nothing installed outside the checkout."""
