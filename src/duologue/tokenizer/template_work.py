"""What rendering a chat template may cost: counted beforehand where no loop turns, paid for where one does.

Whether a program ends soon cannot be read off it. So the template is rewritten before it is compiled: each turn of a
loop, and each text or list that is read or made, takes from an allowance, and a rendering that has used it up stops.
One unit is a construct that is evaluated, or eight characters that are read or made.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, NamedTuple, TypeVar, cast

import jinja2
from jinja2 import nodes
from jinja2.visitor import NodeTransformer

T = TypeVar("T")
CHARACTERS_PER_UNIT = 8
MAX_WHOLE_NUMBER = 10**18  # division takes the square of a number's length
# Filters, methods and tests that look at all that hangs on a value, however often the same part hangs on it.
THOROUGH_FILTERS = frozenset({"string", "tojson", "join", "map", "select", "reject", "selectattr", "rejectattr"})
THOROUGH_METHODS = frozenset({"join", "count", "index"})
COMPARISONS = frozenset({
    "in", "eq", "equalto", "==", "ne", "!=", "gt", "greaterthan", ">", "ge", ">=", "lt", "lessthan", "<", "le", "<=",
})  # fmt: skip
ARITHMETIC = {nodes.Add: "_added", nodes.Sub: "_difference", nodes.Mod: "_remainder"}


class ExhaustedError(Exception):
    """A rendering has used up its allowance."""


class UnknownMacroError(Exception):
    """A macro is called by itself, or before it is there."""

    def __init__(self, call: nodes.Call) -> None:
        """Names the call."""
        super().__init__(cast(nodes.Name, call.node).name)
        self.line = call.lineno


class Size(NamedTuple):
    """What a part of a template costs when each loop turns once, macros spread out, and how deep its loops nest."""

    cost: int
    loops: int


def measure(node: nodes.Node, macros: dict[str, Size], functions: frozenset[str]) -> Size:
    """The size of a part of a template; the macros that it defines are put into ``macros``.

    Raises:
        UnknownMacroError: a call of what is neither a function nor a macro defined further up.
    """
    inner = [measure(child, macros, functions) for child in node.iter_child_nodes()]
    size = Size(1 + _length(node) // CHARACTERS_PER_UNIT + sum(part.cost for part in inner),
                max((part.loops for part in inner), default=0))  # fmt: skip
    if isinstance(node, nodes.Macro):
        macros[node.name] = size
        return Size(1, 0)
    if isinstance(node, nodes.For):
        return Size(size.cost, size.loops + 1)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name not in functions:
        if node.node.name not in macros:
            raise UnknownMacroError(node)
        called = macros[node.node.name]
        return Size(size.cost + called.cost, max(size.loops, called.loops))
    return size


class Meter(NodeTransformer):
    """Rewrites a template so that it pays for what it does, by functions that no template can name."""

    def __init__(self, macros: dict[str, Size], functions: frozenset[str]) -> None:
        """Takes the sizes of the template's macros."""
        self._macros, self._functions = macros, functions

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """The node, or what stands in its place."""
        turn = self._cost_of_turn(node) if isinstance(node, nodes.For) else 0
        self.generic_visit(node)
        if isinstance(node, nodes.For):
            node.iter = _call("_turns", cast(nodes.Expr, node.iter), nodes.Const(turn))
        elif isinstance(node, nodes.Output):
            node.nodes = [part if isinstance(part, nodes.TemplateData) else _call("_written", part)
                          for part in node.nodes]  # fmt: skip
        else:
            _pay_for_what_is_read(node)
        return _paid(node)

    def _cost_of_turn(self, loop: nodes.For) -> int:
        parts = [*loop.body, *([loop.test] if loop.test is not None else [])]
        return 1 + sum(measure(part, self._macros, self._functions).cost for part in parts)


def _pay_for_what_is_read(node: nodes.Node) -> None:
    if isinstance(node, nodes.Filter) and node.node is not None:
        node.node = _call("_gathered" if node.name in THOROUGH_FILTERS else "_read", node.node)
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        way = "_gathered" if node.node.attr in THOROUGH_METHODS else "_read"
        node.node.node = _call(way, node.node.node)
        node.args = [_call(way, argument) for argument in node.args]
    elif isinstance(node, nodes.Compare):
        node.expr = _call("_written", node.expr)
        for operand in node.ops:
            operand.expr = _call("_written", operand.expr)
    elif isinstance(node, nodes.Test) and node.name in COMPARISONS:
        node.node = _call("_written", node.node)
        node.args = [_call("_written", argument) for argument in node.args]


def _paid(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.BinExpr) and type(node) in ARITHMETIC:
        return _call(ARITHMETIC[type(node)], node.left, node.right)
    if isinstance(node, nodes.Concat):
        return _call("_joined", *node.nodes)
    is_slice = isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
    if isinstance(node, nodes.Filter | nodes.Call) or is_slice:
        return _call("_made", cast(nodes.Expr, node))
    is_target = isinstance(node, nodes.Tuple) and node.ctx != "load"
    if isinstance(node, nodes.List | nodes.Dict | nodes.Tuple) and not is_target:
        return _call("_written", node)
    return node


def _call(name: str, *arguments: nodes.Expr) -> nodes.Call:
    call = nodes.Call(nodes.Name(name, "load"), list(arguments), [], None, None)
    call.set_environment(cast(jinja2.Environment, arguments[0].environment))
    return cast(nodes.Call, call.set_lineno(arguments[0].lineno))


class Work:
    """The allowance of one rendering, and the functions by which the template pays."""

    def __init__(self, allowance: int) -> None:
        """Starts with all of it."""
        self._left = allowance

    def spend(self, units: int) -> None:
        """Takes from the allowance; raises ExhaustedError where it does not reach."""
        self._left -= units
        if self._left < 0:
            raise ExhaustedError

    def turns(self, items: Iterable[Any], cost: int) -> Iterator[Any]:
        """The items of a loop, each paid for."""
        for item in items:
            self.spend(cost)
            yield item

    def read(self, value: T) -> T:
        """A text, list or dict, paid for without what hangs on its parts."""
        self.spend(1 + _size(value) // CHARACTERS_PER_UNIT)
        return value

    def made(self, value: T) -> T:
        """What a call, a filter or a slice gave."""
        return self.read(_bounded(value))

    def written(self, value: T) -> T:
        """A value, paid for with all that hangs on it, as often as it hangs there."""
        waiting: list[Any] = [value]
        while waiting:
            part = waiting.pop()
            self.spend(1 + (len(part) // CHARACTERS_PER_UNIT if isinstance(part, str) else 0))
            waiting.extend(_parts(part))
        return value

    def gathered(self, value: Any) -> Any:
        """A value paid for like ``written``; what can be gone through only once becomes a list first."""
        return self.written(list(self.turns(value, 1)) if isinstance(value, Iterator) else value)

    def added(self, left: Any, right: Any) -> Any:
        """The sum, text or list of two values."""
        self.spend(1 + (_size(left) + _size(right)) // CHARACTERS_PER_UNIT)
        return _bounded(left + right)

    def joined(self, *parts: Any) -> str:
        """The texts of all values as one."""
        for part in parts:
            self.written(part)
        return "".join(map(str, parts))

    def functions(self) -> dict[str, Any]:
        """The functions by the names that Meter calls them by."""
        return {"_turns": self.turns, "_read": self.read, "_made": self.made, "_written": self.written,
                "_gathered": self.gathered, "_added": self.added, "_joined": self.joined,
                "_difference": _difference, "_remainder": _remainder}  # fmt: skip


def render(template: jinja2.Template, names: Mapping[str, Any], *, allowance: int) -> str:
    """What a metered template writes.

    Raises:
        ExhaustedError: it takes more than the allowance.
    """
    return template.render({**names, **Work(allowance).functions()})


def _difference(left: Any, right: Any) -> Any:
    return _bounded(left - right)


def _remainder(left: Any, right: Any) -> Any:
    # With text on the left, % is a formatter that can be asked for a gigabyte of spaces.
    if not isinstance(left, int | float):
        raise TypeError(f"% of {type(left).__name__}; expected numbers")
    return left % right


def _bounded(value: T) -> T:
    if isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
        raise OverflowError(f"a number beyond {MAX_WHOLE_NUMBER}")
    return value


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        return ()
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list | tuple | KeysView | ValuesView | ItemsView) else ()


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict) else 0


def _length(node: nodes.Node) -> int:
    if isinstance(node, nodes.TemplateData):
        return len(node.data)
    return len(node.value) if isinstance(node, nodes.Const) and isinstance(node.value, str) else 0
