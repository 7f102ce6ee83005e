"""No file that is loaded can run code: no pickle, no eval, no code that comes with a model, no open template."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "duologue"
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
# Templates are only ever rendered by the sandbox (jinja2.sandbox).
OPEN_TEMPLATES = {
    "jinja2.Template", "jinja2.Environment", "jinja2.environment.Template", "jinja2.environment.Environment",
    "jinja2.nativetypes.NativeTemplate", "jinja2.nativetypes.NativeEnvironment",
}  # fmt: skip
CALLS = {"eval", "exec", "torch.load", "torch.hub.load"} | OPEN_TEMPLATES
OPTIONS = {"allow_pickle", "trust_remote_code"}


def unsafe(tree: ast.AST) -> Iterator[str]:
    aliases = {alias.asname: alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names if alias.asname}  # fmt: skip

    def name_of(node: ast.expr) -> str:
        first, dot, rest = ast.unparse(node).partition(".")
        return f"{aliases.get(first, first)}{dot}{rest}"

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & CALLS
            if (node.module or "").split(".")[0] in MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Call) and name_of(node.func) in CALLS:
            yield name_of(node.func)
        elif isinstance(node, ast.ClassDef):
            yield from {name_of(base) for base in node.bases} & OPEN_TEMPLATES
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
        "import torch as t; t.load('a')",
        "jinja2.Template(text)",
        "jinja2.Environment().from_string(text)",
        "jinja2.environment.Environment(autoescape=True)",
        "from jinja2 import Environment",
        "from jinja2.environment import Template as Pattern",
        "import jinja2 as j; j.Template(text)",
        "import jinja2.environment as e; e.Environment()",
        "from jinja2.nativetypes import NativeEnvironment",
        "class Open(jinja2.Environment): pass",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str) -> None:
    assert list(unsafe(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval(); numpy.load('a', allow_pickle=False); safetensors.torch.load(b)",
        "from jinja2.sandbox import ImmutableSandboxedEnvironment; ImmutableSandboxedEnvironment().from_string(text)",
        "def render(template: jinja2.Template) -> jinja2.Environment: return template.environment",
    ],
)
def test_the_search_lets_the_rest_be(line: str) -> None:
    assert not list(unsafe(ast.parse(line)))
