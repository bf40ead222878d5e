"""The chain of our own as a program: the settings it prints work, and it pays whom it is told to."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from portal.config import Settings
from portal.payments.providers.registry import Registry

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def test_it_runs_by_hand() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.chain"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told, _errors = program.communicate(f"{ADDRESS} 0.1\n", timeout=60)
    assert program.returncode == 0
    found = dict(re.findall(r"(WEB3_[A-Z_]+)=('[^']+'|\S+)", told))
    values = {name.lower(): value.strip("'") for name, value in found.items()}
    assert Registry(replace(Settings(sandbox_enabled=False), **values)).get("web3")
    assert json.loads(values["web3_networks"])[0]["decimals"] == 6
    assert re.search(r"^0x[0-9a-f]{64}$", told, re.MULTILINE)
