"""What a chat template may be made of: a list of constructs, functions, methods, filters and tests, and nothing else.

None of them reaches into Python, and none makes much out of little: no function can be had but under its own name,
and what could multiply text or time (``*``, ``replace``, ``join``, ``range``, ``strip``, ``round``) takes only small
constants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from jinja2 import nodes

MAX_RANGE = 1_000
MAX_NUMBER = 10**9
MAX_SEPARATOR = 16
MAX_PATTERN = 64
MAX_INDENT = 8
MAX_DIGITS = 9

FUNCTIONS = frozenset({"namespace", "raise_exception", "strftime_now", "range"})
OFF_LIMITS = frozenset({"lipsum", "cycler", "joiner", "dict", "self", "super", "caller", "varargs", "kwargs"})
METHODS = frozenset({
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "removeprefix",
    "removesuffix", "upper", "lower", "title", "capitalize", "find", "rfind", "index", "count", "isdigit",
    "isalpha", "isalnum", "isspace", "isupper", "islower", "get", "items", "keys", "values", "join", "replace",
})  # fmt: skip
FILTERS = frozenset({
    "trim", "length", "count", "tojson", "first", "last", "default", "d", "string", "int", "float", "abs",
    "round", "lower", "upper", "capitalize", "title", "list", "items", "reverse", "safe", "join", "replace",
    "indent", "map", "select", "reject", "selectattr", "rejectattr",
})  # fmt: skip
TESTS = frozenset({
    "defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float",
    "boolean", "true", "false", "odd", "even", "divisibleby", "sameas", "in", "eq", "equalto", "==", "ne", "!=",
    "gt", "greaterthan", ">", "ge", ">=", "lt", "lessthan", "<", "le", "<=",
})  # fmt: skip
SETTINGS = {"indent": {"width", "first", "blank"}, "tojson": {"indent", "ensure_ascii", "sort_keys"}}
DATE_FORMAT = re.compile(r"(?:[^%]|%-?[a-zA-Z%]){0,64}")
HARMLESS = frozenset({
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.With, nodes.Assign, nodes.Continue, nodes.Break,
    nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.CondExpr, nodes.Slice, nodes.Concat, nodes.Compare,
    nodes.Operand, nodes.Add, nodes.Sub, nodes.Mod, nodes.Div, nodes.FloorDiv, nodes.And, nodes.Or, nodes.Not,
    nodes.Neg, nodes.Pos,
})  # fmt: skip
WORDS: Mapping[type[nodes.Node], str] = {
    nodes.Mul: "the operator *",
    nodes.Pow: "the operator **",
    nodes.CallBlock: "a call block",
    nodes.FilterBlock: "a filter block",
    nodes.FromImport: "import",
    nodes.ScopedEvalContextModifier: "autoescape",
}


class RefusedError(Exception):
    """What a template may not hold, and where it holds it."""

    def __init__(self, construct: str, line: int) -> None:
        """Names the construct and its line."""
        super().__init__(f"{construct} (line {line})")


class Scope(NamedTuple):
    """What the check of one construct needs to know of the whole template."""

    callees: frozenset[int]
    macros: frozenset[str]


def check_constructs(tree: nodes.Template) -> None:
    """Lets a template pass that is made of what is allowed; raises RefusedError at the first thing that is not."""
    asked = (test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined"))
    callees = frozenset(id(call.node) for call in tree.find_all(nodes.Call)) | {id(test.node) for test in asked}
    macros = [macro.name for macro in tree.find_all(nodes.Macro)]
    scope = Scope(callees, frozenset(macros))
    for macro in tree.find_all(nodes.Macro):
        if macro.name in FUNCTIONS | OFF_LIMITS or macros.count(macro.name) > 1 or macro.name.startswith("_"):
            _refuse(macro, f"the name {macro.name} for a macro")
    for node in _in_order(tree):
        kind = type(node)
        if kind in CHECKS:
            CHECKS[kind](node, scope)
        elif kind not in HARMLESS:
            _refuse(node, WORDS.get(kind, kind.__name__.lower()))
    for loop in tree.find_all(nodes.For):
        _check_doubling(loop)


def _in_order(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _in_order(child)


def _refuse(node: nodes.Node, construct: str) -> NoReturn:
    raise RefusedError(construct, node.lineno)


def _check_name(node: nodes.Name, scope: Scope) -> None:
    if node.name.startswith("_") or node.name in OFF_LIMITS:
        _refuse(node, f"the name {node.name}")
    # A function that is only ever called under its own name cannot be swapped for another.
    if node.name in FUNCTIONS | scope.macros and id(node) not in scope.callees:
        _refuse(node, f"the function {node.name} as a value")


def _check_reference(node: nodes.NSRef, scope: Scope) -> None:
    for name in (node.name, node.attr):
        if name.startswith("_"):
            _refuse(node, f"the name {name}")


def _check_attribute(node: nodes.Getattr, scope: Scope) -> None:
    if node.attr.startswith("_"):
        _refuse(node, f"the attribute {node.attr}")


def _check_item(node: nodes.Getitem, scope: Scope) -> None:
    key = _text(node.arg)
    if key is not None and key.startswith("_"):
        _refuse(node, f"the attribute {key}")


def _check_constant(node: nodes.Const, scope: Scope) -> None:
    if isinstance(node.value, int | float) and not abs(node.value) <= MAX_NUMBER:
        _refuse(node, f"a number beyond {MAX_NUMBER}")


def _check_keyword(node: nodes.Keyword, scope: Scope) -> None:
    if node.key.startswith("_"):
        _refuse(node, f"the name {node.key}")


def _check_macro(node: nodes.Macro, scope: Scope) -> None:
    for name in node.args:
        if name.name.startswith("_"):
            _refuse(node, f"the name {name.name}")


def _check_loop(node: nodes.For, scope: Scope) -> None:
    if node.recursive:
        _refuse(node, "a recursive loop")


def _check_block(node: nodes.AssignBlock, scope: Scope) -> None:
    if node.filter is not None:
        _refuse(node, "a filter on a set block")


def _check_test(node: nodes.Test, scope: Scope) -> None:
    if node.name not in TESTS or node.dyn_args or node.dyn_kwargs:
        _refuse(node, f"the test {node.name}")


def _check_call(node: nodes.Call, scope: Scope) -> None:
    called = node.node
    if node.dyn_args or node.dyn_kwargs:
        _refuse(node, "a call with * or **")
    if isinstance(called, nodes.Getattr):
        if called.attr not in METHODS or not _is_modest_method(called, node):
            _refuse(node, f"the method {called.attr}")
    elif not isinstance(called, nodes.Name):
        _refuse(node, "a call of a computed function")
    elif called.name not in FUNCTIONS | scope.macros:
        _refuse(node, f"the function {called.name}")
    elif not _is_modest_function(called.name, node.args):
        _refuse(node, f"the function {called.name} with these arguments")


def _is_modest_method(called: nodes.Getattr, call: nodes.Call) -> bool:
    if called.attr == "join":
        return len(_text(called.node) or "") <= MAX_SEPARATOR and isinstance(called.node, nodes.Const)
    if called.attr in ("strip", "lstrip", "rstrip"):  # looks for each character in the whole argument
        return not call.kwargs and _are_short(call.args, MAX_SEPARATOR)
    if called.attr in ("rfind", "rsplit"):  # from the right, a text is not looked for in linear time
        return not call.kwargs and _are_short(call.args[:1], MAX_PATTERN)
    return called.attr != "replace" or _is_shrinking(call.args)


def _is_modest_function(name: str, arguments: Sequence[nodes.Expr]) -> bool:
    if name == "range":
        return all(_whole_number(argument, MAX_RANGE) for argument in arguments)
    if name == "strftime_now":
        return len(arguments) == 1 and DATE_FORMAT.fullmatch(_text(arguments[0]) or "%") is not None
    return name != "namespace" or not arguments


def _check_filter(node: nodes.Filter, scope: Scope) -> None:
    if node.name not in FILTERS or node.dyn_args or node.dyn_kwargs or not _is_modest_filter(node):
        _refuse(node, f"the filter {node.name}" + (" with these arguments" if node.name in FILTERS else ""))


def _is_modest_filter(node: nodes.Filter) -> bool:
    given = {str(keyword.key): keyword.value for keyword in node.kwargs}
    texts = [_text(argument) for argument in node.args]
    if node.name == "replace":
        return not given and _is_shrinking(node.args)
    if node.name in ("join", "trim"):
        return not given and _are_short(node.args, MAX_SEPARATOR)
    if node.name == "int":  # in base 16 a long text would become a number that takes hours to divide
        return len(node.args) <= 1 and given.keys() <= {"default"}
    if node.name == "round":
        digits = [*node.args[:1], *(value for key, value in given.items() if key == "precision")]
        return all(_whole_number(number, MAX_DIGITS) for number in digits)
    if node.name in ("indent", "tojson"):
        widths = [*node.args, *(value for key, value in given.items() if key in ("width", "indent"))]
        return given.keys() <= SETTINGS[node.name] and all(_whole_number(width, MAX_INDENT) for width in widths)
    if node.name == "map":
        return not node.args and given.keys() == {"attribute"} and _is_plain(_text(given["attribute"]))
    if node.name in ("selectattr", "rejectattr"):
        return not given and _is_plain(texts[0] if texts else None) and _is_modest_choice(node.args[1:])
    return node.name not in ("select", "reject") or (not given and _is_modest_choice(node.args))


def _is_modest_choice(arguments: Sequence[nodes.Expr]) -> bool:
    """Whether what chooses among many is a test; to look for each of them in a list, the list is written out."""
    texts = [_text(argument) for argument in arguments[:1]]
    is_list_short = all(isinstance(argument, nodes.List | nodes.Tuple | nodes.Const) for argument in arguments[1:])
    return set(texts) <= TESTS and (texts != ["in"] or is_list_short)


def _is_shrinking(arguments: Sequence[nodes.Expr]) -> bool:
    old, new = [*(_text(argument) for argument in arguments[:2]), None, None][:2]
    return bool(old) and old is not None and new is not None and len(new) <= len(old)


def _are_short(arguments: Sequence[nodes.Expr], limit: int) -> bool:
    texts = [_text(argument) for argument in arguments]
    return all(text is not None and len(text) <= limit for text in texts)


def _is_plain(attribute: str | None) -> bool:
    return attribute is not None and not any(part.startswith("_") for part in attribute.split("."))


def _text(node: nodes.Node) -> str | None:
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None


def _whole_number(node: nodes.Node, limit: int) -> bool:
    value = node.node if isinstance(node, nodes.Neg) else node
    return isinstance(value, nodes.Const) and isinstance(value.value, int) and abs(value.value) <= limit


def _check_doubling(loop: nodes.For) -> None:
    """Text that is made of itself twice grows to anything in a few dozen turns."""
    values = [(node, node.target, [node.node]) for node in loop.find_all(nodes.Assign) if _joins(node.node)]
    blocks = [(node, node.target, node.body) for node in loop.find_all(nodes.AssignBlock)]
    for node, target, parts in (*values, *blocks):
        place = _place(target)
        places = [_place(inner) for part in parts for inner in _in_order(part)]
        if place is not None and places.count(place) > 1:
            _refuse(node, f"{'.'.join(place)} twice in its own new value, in a loop")


def _joins(node: nodes.Node) -> bool:
    return any(isinstance(inner, nodes.Add | nodes.Concat) for inner in _in_order(node))


def _place(node: nodes.Node) -> tuple[str, ...] | None:
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.NSRef):
        return (node.name, node.attr)
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        return (node.node.name, node.attr)
    return None


CHECKS: Mapping[type[nodes.Node], Callable[[Any, Scope], None]] = {
    nodes.Name: _check_name,
    nodes.NSRef: _check_reference,
    nodes.Getattr: _check_attribute,
    nodes.Getitem: _check_item,
    nodes.Const: _check_constant,
    nodes.Keyword: _check_keyword,
    nodes.Macro: _check_macro,
    nodes.For: _check_loop,
    nodes.AssignBlock: _check_block,
    nodes.Test: _check_test,
    nodes.Call: _check_call,
    nodes.Filter: _check_filter,
}
