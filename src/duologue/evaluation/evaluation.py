"""A model measured on rows: bits per byte of all, by language and by source, and right answers where they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from duologue.data.builtin.dialogues import TestItem, reference
from duologue.data.formats import Row
from duologue.evaluation.exact_match import ExactMatchReport, exact_match
from duologue.evaluation.likelihood import Likelihood, score_rows
from duologue.generation.engine import Engine

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        total: the likelihood of all rows; a question counts with its first answer as the reply.
        by_lang, by_source: of the rows that say their language, their source; groups without a byte are left out.
        accuracy: right answers; None where no row has any.
    """

    total: Likelihood
    by_lang: dict[str, Likelihood]
    by_source: dict[str, Likelihood]
    accuracy: ExactMatchReport | None

    def to_dict(self) -> dict[str, Any]:
        """The contract's form; breakdowns and accuracy only where there are any."""
        fields = self.total.to_dict()
        for name, groups in (("by_lang", self.by_lang), ("by_source", self.by_source)):
            if groups:
                fields[name] = {key: likelihood.to_dict() for key, likelihood in groups.items()}
        return fields if self.accuracy is None else fields | {"accuracy": self.accuracy.to_dict()}


def evaluate(engine: Engine, rows: Iterable[Row | TestItem], *, on_progress: Progress | None = None) -> Evaluation:
    """Scores all rows, then asks the questions among them.

    Args:
        on_progress: told what is being done and how much of it is.

    Raises:
        DataError: no row has anything to score.
    """
    tell = on_progress or (lambda what, number: None)
    items: list[TestItem] = []
    total, by_lang, by_source = Likelihood(), _Groups(), _Groups()
    dialogues = _with_answers(rows, items)
    note = partial(tell, "rows scored")
    for row, likelihood in score_rows(engine.model, engine.tokenizer, dialogues, on_progress=note):
        total += likelihood
        by_lang.add(row.lang, likelihood)
        by_source.add(row.source, likelihood)
    total.require_bytes()
    accuracy = exact_match(engine, items, on_progress=partial(tell, "questions answered")) if items else None
    return Evaluation(total, by_lang.scored(), by_source.scored(), accuracy)


class _Groups:
    """Likelihoods that are summed by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Likelihood] = {}

    def add(self, name: str | None, likelihood: Likelihood) -> None:
        if name is not None:
            self._sums[name] = self._sums.get(name, Likelihood()) + likelihood

    def scored(self) -> dict[str, Likelihood]:
        return {name: likelihood for name, likelihood in sorted(self._sums.items()) if likelihood.num_bytes}


def _with_answers(rows: Iterable[Row | TestItem], items: list[TestItem]) -> Iterator[Row]:
    """The rows to score; questions are noted on the way."""
    for row in rows:
        if isinstance(row, TestItem):
            items.append(row)
            yield reference(row)
        else:
            yield row
