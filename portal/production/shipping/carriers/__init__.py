"""Carriers' APIs: one module each, behind the contract in `base.py`, chosen by the settings in `registry.py`.

A carrier takes and returns frozen dataclasses; it knows no Flask and no database. A company's words and exceptions end
inside its own modules. `by_hand.py` checks what staff enter where no carrier is configured.
"""
