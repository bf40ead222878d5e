"""What is paid for every month: the agreement, its periods, what happens when a payment fails, and its end.

Knows nothing of what is sold: whoever sells something by the month registers it by its kind, see `hooks.py`.
"""
