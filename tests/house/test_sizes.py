"""A file holds one idea, a function fits a screen, and the whole can be read in a day or two."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "duologue"
FILE_LINES = 400  # the aim is 300
FUNCTION_LINES = 60  # the aim is 40
PACKAGE_LINES = 30_000
# What the built-in corpus is made of is a table of words more than it is code.
TABLES = PACKAGE / "data" / "builtin"


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_short() -> None:
    too_long = {str(path): num_lines(path) for path in python_files() if num_lines(path) > FILE_LINES}
    assert not too_long


def test_functions_fit_a_screen() -> None:
    too_long = {
        f"{path}:{node.lineno} {node.name}": lines
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert not too_long


def test_package_stays_small() -> None:
    assert sum(num_lines(path) for path in python_files() if TABLES not in path.parents) <= PACKAGE_LINES
