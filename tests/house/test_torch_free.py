"""Asking for help, and all that speaks only of dialogues and settings, does not wait for torch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from duologue.cli.main import VERBS

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}
HELP_S = 0.6


def python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "duologue",
        "duologue.cli.main",
        "duologue.cli.parser",
        "duologue.config",
        "duologue.conversation",
        "duologue.errors",
        *sorted(str(path.relative_to(SOURCE).with_suffix("")).replace(os.sep, ".")
                for path in SOURCE.glob("duologue/*/config.py")),
    ],
)
def test_import_leaves_torch_alone(module: str) -> None:
    assert python("-c", f"import sys, {module}; print('torch' in sys.modules)") == "False\n"


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_leaves_torch_alone(words: list[str]) -> None:
    program = f"""
import sys
from duologue.cli.main import main
try:
    code = main({words})
except SystemExit as stop:
    code = stop.code
print(code, "torch" in sys.modules)
"""
    assert python("-c", program).splitlines()[-1] == "0 False"


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        python("-m", "duologue", "--help")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < HELP_S
