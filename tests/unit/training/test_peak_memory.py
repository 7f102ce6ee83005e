"""The memory that is said beforehand is what the process comes to take, within 15%."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
STEP = {"vocab": 8192, "rows": 32, "at_once": 32, "dtype": "bfloat16", "is_compiled": False}
CASES: dict[str, dict[str, Any]] = {
    "eager": STEP,
    "compiled": STEP | {"is_compiled": True},
    "float32": STEP | {"dtype": "float32", "rows": 16, "at_once": 16},
    "part by part": STEP | {"rows": 48, "at_once": 24},
    "most of it head": STEP | {"vocab": 32_768, "rows": 4, "at_once": 4},
    "counts": {"vocab": 8192, "num_tokens": 2_000_000},
}


@pytest.mark.parametrize("asked", CASES.values(), ids=CASES)
def test_the_peak_is_foretold(asked: dict[str, Any]) -> None:
    program = Path(__file__).with_name("peak_memory.py")
    done = subprocess.run([sys.executable, str(program), json.dumps(asked)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["expected"] == pytest.approx(found["peak"], rel=0.15), found
