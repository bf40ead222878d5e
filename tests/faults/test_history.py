"""One history of the siege in each run of the suite; more and longer ones by hand, see `history.py`."""

import random

import pytest

from tests.faults.history import Siege, place

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_history"), pytest.mark.timeout(300)]


def test_a_siege_leaves_every_invariant_standing() -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}: python -m tests.faults.history --first {seed} --seeds 1")
    with place("postgresql") as portal:
        siege = Siege(portal, seed)
        breaches = siege.run(35)
    print(dict(siege.done))
    assert breaches == [], f"seed {seed}"
    assert siege.acknowledged
