"""What people see of dialogue files: the report as tables, and a row with its loss mask painted."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from duologue.data.check import DataReport, Lengths
from duologue.data.excerpt import printable
from duologue.data.loss_mask import Span

LEARNED, NOT_LEARNED = "green", "dim"


def render_report(report: DataReport) -> RenderableType:
    """The report of ``check``, a table for each of files, contents and bad rows."""
    parts: list[RenderableType] = [_files(report), _contents(report)]
    if report.num_bad:
        parts.append(_bad_rows(report))
    return Group(*parts)


def render_spans(spans: Sequence[Span]) -> Text:
    """The text with what is learned in green and the rest dim."""
    styled = ((printable(span.text), LEARNED if span.is_learned else NOT_LEARNED) for span in spans)
    return Text.assemble(*styled)


def _files(report: DataReport) -> Table:
    table = Table("file", "format", box=None, padding=(0, 2, 0, 0))
    table.add_column("rows", justify="right")
    table.add_column("bad", justify="right")
    for count in report.files:
        style = "red" if count.has_too_many_bad else "yellow" if count.num_bad else ""
        bad = Text(f"{count.num_bad:,}", style)
        table.add_row(_plain(count.path.name), count.format or "none", f"{count.num_rows:,}", bad)
    return table


def _contents(report: DataReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = {
        "conversations": f"{report.num_conversations:,}",
        "plain texts": f"{report.num_plain_texts:,}",
        "languages": ", ".join(f"{name} {number:,}" for name, number in report.languages.items()),
        "characters": _lengths(report.characters),
        "turns": _lengths(report.turns),
        "exact duplicates": _share(report.num_exact_duplicates, report.num_rows),
        "near duplicates": _share(report.num_near_duplicates, report.num_rows),
        "without a reply": _share(report.num_without_reply, report.num_conversations),
        "bad rows": _share(report.num_bad, report.num_bad + report.num_rows),
    }
    table.add_row()
    for name, value in rows.items():
        table.add_row(name, _plain(value))
    return table


def _bad_rows(report: DataReport) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for kind, number in report.bad_counts.items():
        table.add_row()
        table.add_row(Text(f"{kind}: {number:,}", "yellow"))
        shown = [bad for bad in report.bad_rows if bad.kind == kind]
        for bad in shown:
            table.add_row(Text(printable(f"  {bad.path.name}:{bad.line_number}: {bad.reason}")))
        if number > len(shown):
            table.add_row(f"  and {number - len(shown):,} more")
    return table


def _lengths(lengths: Lengths) -> str:
    return f"median {lengths.median:,}, 9 in 10 up to {lengths.p90:,}, longest {lengths.max:,}"


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.2%})" if part else "0"


def _plain(text: str) -> Text:
    """Text that rich does not read as markup."""
    return Text(printable(text))
