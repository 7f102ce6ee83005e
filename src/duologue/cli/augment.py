"""The second word ``augment`` of the verb ``data``: dialogues with the noise of real people in them."""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import Any

HELP = """Writes dialogues with noise in what the users say: typing slips, words that sound or look alike, pinyin,
strange characters, turns that do not belong. Replies stay as they are, and the answer to each question too.

Each row has its changes beside it (adversarial.edits), so that they can be undone. A seed gives the same bytes always.
"""
# The settings that act on text; the others need a model in training.
OF_TEXT = ("row_share", "turn_share", "max_rate", "dialogue_share", "families", "hold_out", "seed")
EXAMPLES = """examples:
  duologue data augment my.jsonl --preview 5
  duologue data augment my.jsonl --out harder.jsonl
  duologue data augment *.jsonl --out harder.jsonl.zst --copies 3 --row-share 0.5 --hold-out sight hearing
"""


def add_augment(words: Any) -> argparse.ArgumentParser:
    """Adds the word, with all that it takes beside FILES."""
    from duologue.adversarial.config import AdversarialConfig
    from duologue.config import settings_of

    parser: argparse.ArgumentParser = words.add_parser(
        "augment", help="dialogues made harder, for any trainer; or a look at what that does",
        description=HELP, epilog=EXAMPLES,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="the new file: .jsonl or .jsonl.zst")
    parser.add_argument("--preview", type=int, metavar="N", help="show N dialogues before and after, edits marked")
    parser.add_argument("--copies", type=int, default=1, metavar="N", help="of each dialogue (default 1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    for setting in settings_of(AdversarialConfig):
        if setting.path not in OF_TEXT:
            continue
        flag, nargs = f"--{setting.path.replace('_', '-')}", "+" if isinstance(setting.default, tuple) else None
        parser.add_argument(flag, dest=setting.path, default=None, nargs=nargs, metavar="VALUE", help=setting.help)
    return parser


def augment_files(arguments: argparse.Namespace) -> object:
    """Writes the new file, or shows some dialogues; gives the report as JSON."""
    from duologue.adversarial.config import AdversarialConfig
    from duologue.config import with_flags
    from duologue.errors import UsageError
    from duologue.pipeline.augment import augment
    from duologue.pipeline.display import Display

    if (arguments.out is None) == (arguments.preview is None):
        raise UsageError("expected either --out FILE, to write the new dialogues, or --preview N, to see some")
    for name in ("copies", "workers", "preview"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UsageError(f"--{name}: is {getattr(arguments, name)}; expected at least 1")
    given = {name: value for name in OF_TEXT if (value := getattr(arguments, name)) is not None}
    config = with_flags(AdversarialConfig(row_share=1.0), given)
    if arguments.preview is not None:
        return _preview(arguments, config)
    display = Display()
    with display.counting("rows written") as count:
        report = augment(arguments.files, arguments.out, config, copies=arguments.copies, workers=arguments.workers,
                         on_progress=count)  # fmt: skip
    display.note(f"{report.num_harder:,} of them harder, by {len(report.families)} families of noise")
    return report.to_dict() | {"out": str(arguments.out)}


def _preview(arguments: argparse.Namespace, config: Any) -> object:
    from rich.console import Console

    from duologue.adversarial.preview import render_harder
    from duologue.data.sources import read_conversations
    from duologue.pipeline.augment import harder_rows, policy_for

    policy = policy_for(arguments.files, config)
    shown = list(itertools.islice(harder_rows(policy, read_conversations(arguments.files)), arguments.preview))
    console = Console(stderr=True, highlight=False)
    for harder in shown:
        console.print(render_harder(harder), soft_wrap=True)
    return {"rows": [harder.to_dict() for harder in shown]}
