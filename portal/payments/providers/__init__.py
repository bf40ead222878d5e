"""Payment providers: one module or package each, all behind the contract in `base.py`, found through `registry.py`.

A provider takes and returns frozen dataclasses. It knows no Flask, no session of the database and no HTML (the sandbox
alone has pages, because it is its own other end). A vendor's words and exceptions end inside its module.

To add one:

1. Write `<name>.py` with a class that satisfies `base.Provider`. `signing.py` and `payloads.py` have what webhooks
   share; keep the vendor's words in one mapping table.
2. Add its settings to `portal/config.py` and a row to `registry.ROWS`.
3. Write a fake of the company under `tests/fakes/`, and hold the adapter to `tests/payments/providers/test_contract.py`
   by a fixture and a name in `harness.PROVIDERS`.
4. Offer `base.Rereads`, so that staff can try its stored events out and check deliveries that they paste.
"""
