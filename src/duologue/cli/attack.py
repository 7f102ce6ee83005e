"""The verb ``attack``: how a model stands up to noisy users, to other questions and to objections."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from duologue.cli.model_arguments import add_model_arguments
from duologue.config import require

HELP = """Puts noise into what users say and looks what it costs: a robustness card for any model folder,
by transformers where the model is not of the Llama or Qwen3 family.

Three questions: does noise change the answer, does another question change it, and what becomes of right and wrong
answers after an objection. Rows with "answers" are asked; of others the likelihood of the reply is measured.

examples:
  duologue attack runs/quickstart --data runs/quickstart/data/test.jsonl
  duologue attack runs/mine --data held-out.jsonl --baseline runs/plain --out card
  duologue attack runs/mine --data held-out.jsonl --families sight hearing --limit 500 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``attack``."""
    add_model_arguments(parser)
    parser.add_argument("--data", nargs="+", required=True, metavar="FILES", help="dialogues; questions with answers")
    parser.add_argument("--limit", type=int, default=400, metavar="N", help="rows, spread over the files (default 400)")
    parser.add_argument("--families", nargs="+", default=(), metavar="NAME", help="families or groups; default all")
    parser.add_argument("--questions", type=int, default=100, metavar="N",
                        help="rows with answers that are asked in each family and attacked (default 100)")  # fmt: skip
    parser.add_argument("--baseline", metavar="MODEL", help="measure it too; say how much of its damage is recovered")
    parser.add_argument("--out", type=Path, metavar="DIR", help="leave card.json, card.md and card.png there")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise (default 0)")


def run(arguments: argparse.Namespace) -> object:
    """Measures and shows; gives the card as JSON."""
    from rich.console import Console

    from duologue.adversarial.families import ALL_FAMILIES, select_families
    from duologue.data.sources import checked_paths

    require(arguments.limit >= 1, "--limit", arguments.limit, "1 or more")
    require(arguments.seed >= 0, "--seed", arguments.seed, "0 or more")
    require(arguments.questions >= 0, "--questions", arguments.questions, "0 or more")
    families = select_families(arguments.families) or ALL_FAMILIES
    paths = checked_paths(arguments.data)  # before the model is loaded
    from duologue.hub.resolve import resolve_model

    baseline = resolve_model(arguments.baseline) if arguments.baseline else None
    if arguments.out:
        from duologue.pipeline.run_folder import RunFolder

        RunFolder(arguments.out).make()
    engine = _load(arguments, resolve_model(arguments.model))
    from duologue.evaluation.recovery import recovered
    from duologue.evaluation.robustness_report import card_as_markdown, plot_card, render_card

    suite = _suite(paths, arguments, families)
    console, share = Console(stderr=True, highlight=False), None
    with console.status("reading") as status:
        tell = lambda what, number: status.update(f"{what}: {number:,}" if number else what)  # noqa: E731
        card = suite.measure(engine, tell)
        if baseline:
            share = recovered(suite.measure(_load(arguments, baseline), tell), card)
    console.print(render_card(card, share))
    result = card.to_dict() | ({"recovered": {name: asdict(one) for name, one in share.items()}} if share else {})
    if arguments.out:
        from duologue.pipeline.run_folder import write_json, write_text

        write_json(arguments.out / "card.json", result)
        write_text(arguments.out / "card.md", card_as_markdown(card, str(arguments.model), share))
        plot_card(card, arguments.out / "card.png")
        console.print(f"card: {arguments.out}", style="bold", markup=False, soft_wrap=True)
    return result


def _load(arguments: argparse.Namespace, folder: Path) -> Any:
    """The engine of a model folder, or the model as transformers loads it where it is of another family."""
    from duologue.evaluation.foreign_model import ForeignModel, is_foreign
    from duologue.generation.engine import Engine

    if is_foreign(folder):
        return ForeignModel.from_pretrained(folder)
    return Engine.from_pretrained(folder, arguments.device, arguments.dtype)


def _suite(paths: list[Path], arguments: argparse.Namespace, families: tuple[str, ...]) -> Any:
    from duologue.adversarial.dialogue_noise import Material
    from duologue.evaluation.items import read_rows
    from duologue.evaluation.noise_cases import cases_of, spread_over
    from duologue.evaluation.robustness import RobustnessSuite, Settings

    cases = spread_over(cases_of(read_rows(paths), limit=100_000), arguments.limit)
    settings = Settings(families, num_checked=arguments.questions, num_attacked=arguments.questions,
                        seed=arguments.seed)  # fmt: skip
    return RobustnessSuite(cases, settings, Material.of(case.row for case in cases))
