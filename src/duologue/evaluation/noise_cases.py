"""The rows of a robustness test: questions with right replies, and the same with noise or with another meaning."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from duologue.adversarial.dialogue import Changes, HarderDialogue
from duologue.adversarial.dialogue_noise import Material
from duologue.adversarial.draws import Draws
from duologue.adversarial.families import DIALOGUE_FAMILIES, TEXT_FAMILIES
from duologue.adversarial.family import perturb
from duologue.adversarial.meaning import MEANING_FAMILIES
from duologue.adversarial.policy import carried_spans_of, digest_of, suits
from duologue.adversarial.text_view import TextView
from duologue.conversation import Conversation, Role
from duologue.data.builtin.dialogues import TestItem, reference
from duologue.data.formats import Row

T = TypeVar("T")

SEVERITIES = {"light": 0.05, "medium": 0.15, "strong": 0.3}  # edits as a share of words, or of Chinese characters


@dataclass(frozen=True, slots=True)
class Case:
    """A dialogue that ends with a question and its right reply.

    Attributes:
        answers: replies that are right too, where they can be checked; none where only a reply is known.
    """

    row: Conversation
    answers: tuple[str, ...] = ()

    @property
    def question(self) -> Conversation:
        """The dialogue up to its last question."""
        return replace(self.row, messages=self.row.messages[:-1])

    @property
    def name(self) -> str:
        """What its noise is drawn by."""
        return self.row.id or digest_of(self.row)


@dataclass(frozen=True, slots=True)
class Noisy:
    """A case with noise in it: its number, and the dialogue."""

    number: int
    harder: HarderDialogue


def cases_of(rows: Iterable[Row | TestItem], limit: int) -> list[Case]:
    """The first rows that end with a question and a reply; a dialogue counts up to its last reply."""
    found = (case for row in rows if (case := _case(row)))
    return list(itertools.islice(found, limit))


def spread_over(items: Sequence[T], limit: int) -> list[T]:
    """That many of some items, from the first to the last at equal distances: files are in order of something."""
    if len(items) <= limit:
        return list(items)
    return [items[number * len(items) // limit] for number in range(limit)]


def _case(row: Row | TestItem) -> Case | None:
    if isinstance(row, TestItem):
        return Case(reference(row), row.answers)
    if not isinstance(row, Conversation):
        return None
    sides = [message.role for message in row.messages]
    for end in range(len(sides), 1, -1):
        is_reply = sides[end - 2 : end] == [Role.USER, Role.ASSISTANT] and row.messages[end - 1].is_learned
        if is_reply and row.messages[end - 1].learned_content:
            return Case(replace(row, messages=row.messages[:end]))
    return None


def with_noise(cases: Sequence[Case], family: str, rate: float, material: Material, *, seed: int) -> list[Noisy]:
    """The cases whose last question a family strikes; the same for the same seed, whatever else is asked for."""
    found = []
    for number, case in enumerate(cases):
        draws = Draws(seed, case.name, family, rate)
        changes = _changes(case, family, rate, material, draws)
        if changes:
            found.append(Noisy(number, HarderDialogue(case.row, changes, (family,), rate)))
    return found


def _changes(case: Case, family: str, rate: float, material: Material, draws: Draws) -> Changes:
    turn = len(case.row.messages) - 2
    if family in DIALOGUE_FAMILIES:
        return DIALOGUE_FAMILIES[family].apply(case.row, turn, material, draws)
    struck = (TEXT_FAMILIES | MEANING_FAMILIES)[family]
    protected = carried_spans_of(case.row, turn) if family in TEXT_FAMILIES else ()
    view = TextView(case.row.messages[turn].content, protected)
    edits = perturb(view, struck, rate, draws) if suits(struck, view) else []
    return Changes({turn: tuple(edits)}) if edits else Changes()
