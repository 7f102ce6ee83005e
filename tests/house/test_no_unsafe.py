"""No file that is loaded can run code: no pickle, no eval, no code that comes with a model."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "duologue"
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "torch.load", "torch.hub.load"}
OPTIONS = {"allow_pickle", "trust_remote_code"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & CALLS
            if (node.module or "").split(".")[0] in MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            yield ast.unparse(node.func)
        elif isinstance(node, ast.keyword) and node.arg in OPTIONS and ast.unparse(node.value) != "False":
            yield str(node.arg)


def test_package_loads_nothing_that_can_run() -> None:
    found = {
        str(path): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (names := list(unsafe(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "torch.load('a')",
        "eval('1')",
        "AutoModel.from_pretrained('a', trust_remote_code=True)",
        "numpy.load('a', allow_pickle=wanted)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert list(unsafe(ast.parse(line)))


def test_the_search_lets_the_rest_be() -> None:
    assert not list(unsafe(ast.parse("model.eval(); numpy.load('a', allow_pickle=False); safetensors.torch.load(b)")))
