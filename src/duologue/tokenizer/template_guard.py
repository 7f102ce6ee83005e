"""The guard of chat templates: a Jinja template that came with a model is checked before it renders anything.

A template is a program. What it may be made of is on a list (``template_rules``), and what it does is paid for from an
allowance (``template_work``): rendering touches nothing but the conversation, ends soon and stays small, whatever the
messages are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duologue.errors import DataError, ModelFolderError
from duologue.tokenizer.template_rules import FUNCTIONS, RefusedError, check_constructs
from duologue.tokenizer.template_work import ExhaustedError, Meter, Size, UnknownMacroError, measure, render

MAX_BYTES = 64 * 1024
MAX_DEPTH = 40
MAX_NESTED_LOOPS = 3
# The longest templates of widely used models have 2,500 parts.
MAX_COST = 10_000
MAX_TRIAL_WORK = 500_000
MAX_WORK = 10_000_000
WORK_PER_CHARACTER = 16  # of the conversation: a short one has no use for a long rendering
TRIAL = [{"role": role, "content": "Hello there."} for role in ("system", *("user", "assistant") * 8, "user")]

REMEDY = "take the template from the model's own source, or write a plain one that loops over messages"
FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


class ObjectionError(jinja2.TemplateError):
    """The template itself refuses the conversation, by ``raise_exception``."""


class Namespace(jinja2.utils.Namespace):
    """Jinja's namespace, which writes itself without what it holds: in each other, sixty of them would never end."""

    def __repr__(self) -> str:
        """The same for all."""
        return "<Namespace>"


def check_template(source: str, *, where: str) -> None:
    """Lets a chat template pass whose rendering is bounded and touches nothing but the conversation.

    Raises:
        ModelFolderError: it holds anything else; the message names the construct and its line.
    """
    try:
        template = _compile(source)
        render(template, {"messages": TRIAL, "add_generation_prompt": True}, allowance=MAX_TRIAL_WORK)
    except RefusedError as refused:
        raise ModelFolderError(f"{where}: the chat template uses {refused}, which is not allowed; {REMEDY}") from None
    except (ExhaustedError, MemoryError):
        found = f"the chat template makes too much of {len(TRIAL)} short messages"
        raise ModelFolderError(f"{where}: {found}; {REMEDY}") from None
    except FAILURES:
        pass  # not every template takes every conversation


def render_template(
    source: str, *, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, **values: Any
) -> str:
    """The conversation as the template writes it, with ``values`` (bos_token, tools, ...) as further names.

    Raises:
        ModelFolderError: the template is not allowed, fails, or is too much work.
        DataError: the template itself refuses the conversation.
    """
    where = "chat template"
    names = {**values, "messages": messages, "add_generation_prompt": add_generation_prompt}
    allowance = min(MAX_TRIAL_WORK + WORK_PER_CHARACTER * len(str(names)), MAX_WORK)
    try:
        return render(_compile(source), names, allowance=allowance)
    except RefusedError as refused:
        raise ModelFolderError(f"{where}: uses {refused}, which is not allowed; {REMEDY}") from None
    except (ExhaustedError, MemoryError):
        raise ModelFolderError(f"{where}: makes too much of this conversation; {REMEDY}") from None
    except ObjectionError as objection:
        raise DataError(f"{where}: refuses this conversation: {_one_line(objection)}") from None
    except FAILURES as error:
        found = f"{type(error).__name__}: {_one_line(error)}"
        raise ModelFolderError(f"{where}: fails on this conversation: {found}; {REMEDY}") from None


@functools.lru_cache(maxsize=8)
def _compile(source: str) -> jinja2.Template:
    environment = _environment()
    tree = _parse(environment, source)
    check_constructs(tree)
    macros: dict[str, Size] = {}
    try:
        size = measure(tree, macros, FUNCTIONS)
    except UnknownMacroError as unknown:
        raise RefusedError(f"the macro {unknown} in itself or before it is defined", unknown.line) from None
    if size.loops > MAX_NESTED_LOOPS:
        raise RefusedError(f"more than {MAX_NESTED_LOOPS} loops in each other", 1)
    if size.cost > MAX_COST:
        raise RefusedError(f"more than {MAX_COST} parts, each macro counted where it is called", 1)
    try:
        return environment.from_string(cast(nodes.Template, Meter(macros, FUNCTIONS).visit(tree)))
    except (jinja2.TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(f"what cannot be compiled, {_one_line(error)}", getattr(error, "lineno", 1) or 1) from None


def _environment() -> ImmutableSandboxedEnvironment:
    """The sandbox, with the settings that ``transformers`` renders with and none of Jinja's own functions."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.globals.clear()
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now, "range": range,
                            "namespace": Namespace}  # fmt: skip
    environment.filters["tojson"] = _tojson
    return environment


def _raise_exception(message: object) -> NoReturn:
    raise ObjectionError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    # Jinja's own escapes what is special in HTML.
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _one_line(error: object) -> str:
    words = " ".join(str(error).split())[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _parse(environment: jinja2.Environment, source: str) -> nodes.Template:
    if len(source.encode("utf-8", errors="surrogatepass")) > MAX_BYTES:
        raise RefusedError(f"more than {MAX_BYTES // 1024} KiB", 1)
    try:
        tree = environment.parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise RefusedError(f"wrong syntax, {_one_line(error.message)}", error.lineno) from None
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise RefusedError(f"what cannot be parsed, {type(error).__name__}", 1) from None
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
    if level:
        raise RefusedError(f"more than {MAX_DEPTH} levels of nesting", level[0].lineno)
    return tree
