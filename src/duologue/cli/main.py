"""The command ``duologue VERB ...``: finds the verb, runs it, and turns what goes wrong into one line.

A verb is a module with a help text ``HELP`` (what it does, an empty line, examples), ``add_arguments(parser)`` and
``run(arguments)``, and is imported only when it is called: ``duologue --help`` loads nothing but the standard library.

What people read goes to stderr. What ``run`` returns goes to stdout as JSON: one document with ``--json``, and where it
is an iterator, with ``--json`` or without, a line for each item as it comes.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import argparse


class Verb(NamedTuple):
    """Where a verb lives, and what the overview says of it."""

    module: str
    group: str
    help: str


WHOLE, STAGE, MODEL = "From dialogues to a chat", "One stage after the other", "With a trained model"
ELSEWHERE, MACHINE = "From elsewhere and to elsewhere", "This machine"
VERBS = {
    "quickstart": Verb("duologue.cli.quickstart", WHOLE, "train on the built-in corpus, see how good it is, then chat"),
    "up": Verb("duologue.cli.up", WHOLE, "all stages of a recipe, on your own dialogues or others"),
    "data": Verb("duologue.cli.data", STAGE, "check, show, prepare and augment dialogue files"),
    "tokenizer": Verb("duologue.cli.tokenizer", STAGE, "train a tokenizer"),
    "pretrain": Verb("duologue.cli.pretrain", STAGE, "learn language: predict the next token"),
    "finetune": Verb("duologue.cli.finetune", STAGE, "learn to reply: predict the right answer"),
    "chat": Verb("duologue.cli.chat", MODEL, "talk to a model"),
    "generate": Verb("duologue.cli.generate", MODEL, "reply to each conversation of a file"),
    "score": Verb("duologue.cli.score", MODEL, "rank candidate replies by their probability"),
    "evaluate": Verb("duologue.cli.evaluate", MODEL, "measure a model: bits per byte, right answers"),
    "attack": Verb("duologue.cli.attack", MODEL, "see how a model stands up to noisy users"),
    "pull": Verb("duologue.cli.pull", ELSEWHERE, "fetch a real pretrained model"),
    "models": Verb("duologue.cli.models", ELSEWHERE, "list the models that are here"),
    "export": Verb("duologue.cli.export", ELSEWHERE, "take a model to other engines, and prove that it is the same"),
    "plan": Verb("duologue.cli.plan", MACHINE, "what a run would need, on this machine or on many GPUs"),
    "bench": Verb("duologue.cli.bench", MACHINE, "measure how fast models train and reply here"),
}

EXAMPLES = """\
  duologue quickstart
  duologue up small --data my.jsonl
  duologue chat runs/small"""


SHARED = ("pretrain", "finetune")  # the verbs that several processes may do together


class VerbModule(Protocol):
    """What the module of a verb offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the verb's own arguments."""

    def run(self, arguments: argparse.Namespace) -> object | None:
        """Does it; gives the result, if there is one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code: 0 done, 1 failed, 2 wrong use, 130 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    _speak_utf8()
    try:
        return _run(words)
    except (Exception, KeyboardInterrupt) as error:
        from duologue.cli.failure import report_failure

        return report_failure(error, verb=next(iter(words), ""), with_traceback="--debug" in words)


def overview() -> str:
    """The help page of the command: what it is, the verbs in groups, examples."""
    lines = ["duologue: a ChatGPT of your own, from raw dialogues to a chat you can talk to.", ""]
    lines += ["usage: duologue VERB [RECIPE or MODEL] [flags]"]
    for group, verbs in itertools.groupby(VERBS, key=lambda name: VERBS[name].group):
        lines += ["", f"{group}:", *(f"  {name:<12}{VERBS[name].help}" for name in verbs)]
    lines += ["", "Examples:", EXAMPLES, ""]
    lines += ["duologue VERB --help explains a verb. With --json the result goes to stdout as JSON;",
              "with --debug a failure shows its traceback."]
    return "\n".join(lines)


def _run(words: list[str]) -> int:
    if not words:
        print(overview(), file=sys.stderr)
        return 2
    first, *rest = words
    if first in ("-h", "--help", "help"):
        print(overview(), flush=True)
    elif first == "--version":
        from duologue import __version__

        print(f"duologue {__version__}")
    else:
        _run_verb(first, rest)
    return 0


def _run_verb(name: str, words: list[str]) -> None:
    verb = _find(name)
    _refuse_several_processes(name)
    module = cast(VerbModule, importlib.import_module(verb.module))
    from duologue.cli.parser import parse
    from duologue.cli.result import write_result

    arguments = parse(name, module, words)
    stdout = sys.stdout
    # With --json, what the verb or a library prints by the way goes to stderr: stdout holds the result alone.
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        write_result(module.run(arguments), stdout, as_document=arguments.json)


def _find(name: str) -> Verb:
    if name in VERBS:
        return VERBS[name]
    from duologue.config import did_you_mean
    from duologue.errors import UsageError

    if name.startswith("-"):
        raise UsageError(f"{name} stands where a verb is expected: duologue VERB [flags]")
    raise UsageError(f"no verb {name}{did_you_mean(name, VERBS)}")


def _refuse_several_processes(name: str) -> None:
    """Under torchrun a verb runs in each of its processes: fine for those that share their work, else chaos."""
    num_processes = os.environ.get("WORLD_SIZE", "1")
    if num_processes != "1" and name not in SHARED:
        from duologue.errors import UsageError

        told = f"torchrun started {num_processes} processes, and {name} is for one"
        raise UsageError(f"{told}; with torchrun: {' and '.join(SHARED)}")


def _speak_utf8() -> None:
    """Chinese is written and read as UTF-8 wherever the system would choose another encoding."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=None if stream is sys.stdin else "backslashreplace")
