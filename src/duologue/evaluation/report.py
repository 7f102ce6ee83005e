"""What people see of an evaluation: bits per byte and right answers as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from duologue.data.excerpt import excerpt, printable
from duologue.evaluation.evaluation import Evaluation
from duologue.evaluation.exact_match import ExactMatchReport
from duologue.evaluation.likelihood import Likelihood

WRONG_SHOWN = 5


def render_evaluation(evaluation: Evaluation) -> RenderableType:
    """The tables, and some of the wrong replies."""
    parts: list[RenderableType] = [_likelihoods(evaluation)]
    if evaluation.accuracy is not None:
        parts += ["", _accuracy(evaluation.accuracy), *_wrong(evaluation.accuracy)]
    return Group(*parts)


def _likelihoods(evaluation: Evaluation) -> Table:
    table = Table("", box=None, padding=(0, 2, 0, 0))
    for name in ("bits per byte", "bytes", "conversations", "texts"):
        table.add_column(name, justify="right")
    groups = {"all": evaluation.total}
    for found in (evaluation.by_lang, evaluation.by_source):
        groups |= found if len(found) > 1 else {}
    for name, likelihood in groups.items():
        table.add_row(Text(excerpt(name)), *_cells(likelihood))
    return table


def _cells(likelihood: Likelihood) -> list[str]:
    counts = (likelihood.num_bytes, likelihood.num_conversations, likelihood.num_texts)
    return [f"{likelihood.bits_per_byte:.4f}", *(f"{count:,}" for count in counts)]


def _accuracy(report: ExactMatchReport) -> Table:
    """A row for each skill and each distance of recall, a column for each language."""
    languages = list(report.by_language)
    table = Table("right answers", box=None, padding=(0, 2, 0, 0))
    for lang in languages:
        table.add_column(Text(excerpt(lang)), justify="right")
    cells = {("all", lang): tally for lang, tally in report.by_language.items()}
    cells |= {(skill, lang): tally for (lang, skill), tally in report.by_skill.items()}
    cells |= {(f"  at distance {turns}", lang): tally for (lang, turns), tally in report.by_distance.items()}
    for name in dict.fromkeys(name for name, _ in cells):
        tallies = [cells.get((name, lang)) for lang in languages]
        shown = [f"{tally.share:.1%} of {tally.total:,}" if tally else "" for tally in tallies]
        table.add_row(Text(printable(name)), *shown)
    return table


def _wrong(report: ExactMatchReport) -> list[RenderableType]:
    lines: list[RenderableType] = [""] if report.wrong else []
    for verdict in report.wrong[:WRONG_SHOWN]:
        fields = verdict.to_dict()
        too_long = "(the question is longer than the context)"
        reply = too_long if verdict.reply is None else excerpt(verdict.reply) or "(nothing)"
        expected = (f"  {excerpt(verdict.item.answers[0])}", "green")
        lines.append(Text.assemble(excerpt(fields["question"]), (f"  {reply}", "red"), expected))
    return lines
