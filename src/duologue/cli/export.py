"""Takes a model to other engines, and proves that a model folder is what it says.

Examples:
  duologue export gguf runs/small --to small-q8.gguf --precision q8_0
  duologue export check runs/small
"""

from __future__ import annotations

import argparse
from pathlib import Path

from duologue.errors import DuologueError

HELP = __doc__
PRECISIONS = ("f32", "f16", "bf16", "q8_0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the second words ``gguf`` and ``check``."""
    words = parser.add_subparsers(dest="word", metavar="gguf | check", required=True)
    gguf = words.add_parser("gguf", help="one file for llama.cpp and all that builds on it")
    check = words.add_parser("check", help="logits, ids, hashes, card: is the folder what it says?")
    for one in (gguf, check):
        one.add_argument("model", metavar="MODEL", help="a model folder, a run folder, or a pulled model's name")
    gguf.add_argument("--to", type=Path, metavar="FILE", help="default: the model's name and precision, here")
    help_text = "number format of the matrices (default f16); q8_0 is half as large"
    gguf.add_argument("--precision", choices=PRECISIONS, default="f16", help=help_text)


def run(arguments: argparse.Namespace) -> object:
    """Exports or checks; gives the file or the findings."""
    return {"gguf": _gguf, "check": _check}[arguments.word](arguments)


def _gguf(arguments: argparse.Namespace) -> dict[str, object]:
    from duologue.hub.resolve import resolve_model

    folder = resolve_model(arguments.model)  # looked through before torch is loaded
    from duologue.hub.gguf_out import export_gguf
    from duologue.pipeline.display import Display

    target = arguments.to or Path(f"{Path(arguments.model).name}-{arguments.precision}.gguf")
    display = Display()
    with display.counting("tensors packed") as count:
        export_gguf(folder, target, arguments.precision, on_progress=lambda done, _: count(done))
    display.note(f"{target}: {target.stat().st_size / 1e6:,.1f} MB")
    return {"path": str(target), "precision": arguments.precision, "size_bytes": target.stat().st_size}


def _check(arguments: argparse.Namespace) -> object:
    from duologue.hub.resolve import resolve_model

    folder = resolve_model(arguments.model)
    from duologue.hub.folder_check import Outcome, check_folder
    from duologue.pipeline.display import Display

    display, findings = Display(), []
    for finding in check_folder(folder):
        display.note(f"{finding.outcome:<8}{finding.check}: {finding.detail}")
        findings.append(finding)
    failed = [finding.check for finding in findings if finding.outcome is Outcome.FAILED]
    if failed:
        raise DuologueError(f"{folder}: {len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")
    return {"path": str(folder), "findings": findings}
