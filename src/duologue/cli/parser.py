"""The arguments of a verb: argparse, with each complaint on one line and the nearest known word in it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from duologue.config import did_you_mean
from duologue.errors import UsageError

if TYPE_CHECKING:
    from duologue.cli.main import VerbModule


class HelpPage(argparse.RawDescriptionHelpFormatter):
    """A help page that begins with what a call needs; what may be left out stands in the list below."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        """Adds the line ``usage: duologue generate MODEL --input FILE [flags]``."""
        words = [self._prog.replace("%", "%%")]
        for action in sorted(actions, key=lambda action: bool(action.option_strings)):
            if action.required or not action.option_strings:
                value = self._format_args(action, self._get_default_metavar_for_positional(action))
                words += [*action.option_strings[-1:], value]
        if prefix is None:  # with a prefix argparse asks for the words that stand before a second word
            words.append("[flags]")
        super().add_usage(" ".join(words), [], [], prefix)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of printing its usage and leaving."""

    def __init__(self, **options: Any) -> None:
        options = {"formatter_class": HelpPage} | options
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong as a UsageError."""
        raise UsageError(message.removeprefix("argument "))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        if choices is not None and str(value) not in choices:
            raise argparse.ArgumentError(action, f"is {value}{did_you_mean(str(value), choices)}")


def parse(verb: str, module: VerbModule, words: list[str]) -> argparse.Namespace:
    """The arguments of a verb.

    Raises:
        UsageError: a flag is unknown (the nearest one is named), or a value is missing or wrong.
        SystemExit: the help page was asked for, and printed.
    """
    summary, _, examples = module.HELP.strip().partition("\n\n")
    parser = OneLineParser(prog=f"duologue {verb}", description=summary, epilog=examples)
    module.add_arguments(parser)
    for one in _parsers(parser):
        # A default only at the top: a parser below it would overwrite what stood before its word.
        default = False if one is parser else argparse.SUPPRESS
        one.add_argument("--json", action="store_true", default=default, help="the result as JSON on stdout")
        one.add_argument("--debug", action="store_true", default=default, help="show the traceback of a failure")
    _refuse_unknown_flags(parser, words)
    arguments, rest = parser.parse_known_args(words)
    if rest:
        raise UsageError(f"cannot use {' '.join(rest)}: see duologue {verb} --help")
    return arguments


def _refuse_unknown_flags(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Looks before argparse does, which would rather say what it misses than which flag was mistyped."""
    known = {flag for one in _parsers(parser) for flag in one._option_string_actions}
    flags = words[: words.index("--")] if "--" in words else words
    for flag in (word.partition("=")[0] for word in flags if word.startswith("--")):
        if flag != "--" and flag not in known:
            raise UsageError(f"no flag {flag}{did_you_mean(flag, (name for name in known if name.startswith('--')))}")


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its second words (``tokenizer train``)."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                yield from _parsers(below)
