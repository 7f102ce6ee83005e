"""What a preparation found and left, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was read of one input file."""

    name: str
    format: str | None
    num_rows: int
    num_bad: int


@dataclass(frozen=True, slots=True)
class PreparationReport:
    """The figures of a finished preparation.

    Attributes:
        num_rows: rows read, bad ones included.
        num_exact, num_near: rows left out since an earlier one says the same, or nearly.
        num_train, num_valid: rows kept, on each side.
        text_bytes: of the text of the rows kept.
        num_tokens: of both sides; None without a tokenizer.
        learned_tokens: those that fine-tuning learns.
    """

    files: tuple[FileReport, ...]
    num_rows: int
    num_bad: int
    num_exact: int
    num_near: int
    num_train: int
    num_valid: int
    text_bytes: int
    num_tokens: int | None = None
    learned_tokens: int | None = None

    @property
    def num_kept(self) -> int:
        """Rows that can be learned from."""
        return self.num_train + self.num_valid

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"num_kept": self.num_kept}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PreparationReport:
        """What to_dict has given."""
        rest = {name: value for name, value in fields.items() if name not in ("files", "num_kept")}
        return cls(tuple(FileReport(**one) for one in fields["files"]), **rest)


def render_preparation(report: PreparationReport) -> Table:
    """The report as people read it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = {
        "rows read": f"{report.num_rows:,} from {len(report.files):,} files",
        "bad rows": _share(report.num_bad, report.num_rows),
        "exact duplicates": _share(report.num_exact, report.num_rows),
        "near duplicates": _share(report.num_near, report.num_rows),
        "rows kept": f"{report.num_kept:,}, of which {report.num_valid:,} for validation",
        "text": f"{report.text_bytes / 1e6:,.1f} MB",
    }
    if report.num_tokens is not None:
        rows["tokens"] = f"{report.num_tokens:,}, of which {report.learned_tokens:,} in replies"
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.2%})" if part else "0"
