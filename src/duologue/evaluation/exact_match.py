"""Exact match: the share of questions to which the model's most probable reply is one of the right answers.

Case, width of characters, white space and a final full stop do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from duologue.conversation import Conversation, Role, normalise
from duologue.data.builtin.dialogues import TestItem
from duologue.data.language import language_of
from duologue.errors import ContextLengthError
from duologue.generation.config import GenerationConfig
from duologue.generation.events import GenerationOutput

Key = TypeVar("Key", bound=Hashable)


class Replier(Protocol):
    """What the test needs of an engine."""

    def check(self, prompt: Conversation, config: GenerationConfig, /) -> None:
        """Raises ContextLengthError where the prompt is too long."""

    def generate_batch(
        self, prompts: Sequence[Conversation], config: GenerationConfig, /, *, on_finished: Callable[[int], None] | None
    ) -> list[GenerationOutput]:
        """A reply to each prompt, in order."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of how many are right."""

    right: int
    total: int

    @property
    def share(self) -> float:
        """Right ones among all; 0 where there are none."""
        return self.right / self.total if self.total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The tally with its share, as JSON."""
        return {"accuracy": self.share, "right": self.right, "total": self.total}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A question and what the model replied.

    Attributes:
        item: the question with its right answers.
        reply: None where the question is longer than the context, which counts as wrong.
    """

    item: TestItem
    reply: str | None

    @property
    def is_right(self) -> bool:
        """Whether the reply is one of the answers."""
        return self.reply is not None and normalise(self.reply) in map(normalise, self.item.answers)

    @property
    def lang(self) -> str:
        """The question's language."""
        return language_of(self.item.conversation)

    def to_dict(self) -> dict[str, Any]:
        """Question, reply and expected answers as JSON."""
        asked = [message.content for message in self.item.conversation.messages if message.role is Role.USER]
        fields = {"lang": self.lang, "skill": self.item.skill, "distance": self.item.distance, "question": asked[-1]}
        return fields | {"reply": self.reply, "expected": list(self.item.answers)}


@dataclass(frozen=True)
class ExactMatchReport:
    """All verdicts, and the shares of right ones that follow from them."""

    verdicts: tuple[Verdict, ...]

    @property
    def overall(self) -> Tally:
        """All questions."""
        return _tally(self.verdicts)

    @property
    def by_language(self) -> dict[str, Tally]:
        """By language."""
        return _tallies(self.verdicts, lambda verdict: verdict.lang)

    @property
    def by_skill(self) -> dict[tuple[str, str], Tally]:
        """By language and skill."""
        return _tallies(self.verdicts, lambda verdict: (verdict.lang, verdict.item.skill))

    @property
    def by_distance(self) -> dict[tuple[str, int], Tally]:
        """Recall by language and by user turns since the answer was told."""
        told = [verdict for verdict in self.verdicts if verdict.item.distance is not None]
        return _tallies(told, lambda verdict: (verdict.lang, verdict.item.distance or 0))

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The verdicts to look at."""
        return tuple(verdict for verdict in self.verdicts if not verdict.is_right)

    def worst_skills(self, num_skills: int = 3) -> list[tuple[str, str, Tally]]:
        """Language, skill and tally where the share of right ones is least, the least first."""
        ranked = sorted(self.by_skill.items(), key=lambda pair: pair[1].share)
        return [(lang, skill, tally) for (lang, skill), tally in ranked[:num_skills]]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, wrong replies included."""
        return self.overall.to_dict() | {
            "by_lang": {lang: tally.to_dict() for lang, tally in self.by_language.items()},
            "by_skill": _nested(self.by_skill),
            "recall_by_distance": _nested(self.by_distance),
            "wrong": [verdict.to_dict() for verdict in self.wrong],
        }


def exact_match(
    engine: Replier,
    items: Iterable[TestItem],
    *,
    max_new_tokens: int = 96,
    on_progress: Callable[[int], None] | None = None,
) -> ExactMatchReport:
    """The verdicts on greedy replies to all questions; ``on_progress`` is told how many are answered."""
    items, config = list(items), GenerationConfig(max_new_tokens=max_new_tokens)
    asked = [place for place, item in enumerate(items) if _fits(engine, item, config)]
    prompts = [items[place].conversation for place in asked]
    outputs = engine.generate_batch(prompts, config, on_finished=on_progress)
    replies = {place: output.texts[0] for place, output in zip(asked, outputs, strict=True)}
    return ExactMatchReport(tuple(Verdict(item, replies.get(place)) for place, item in enumerate(items)))


def _fits(engine: Replier, item: TestItem, config: GenerationConfig) -> bool:
    try:
        engine.check(item.conversation, config)
    except ContextLengthError:
        return False
    return True


def _tally(verdicts: Iterable[Verdict]) -> Tally:
    marks = [verdict.is_right for verdict in verdicts]
    return Tally(sum(marks), len(marks))


def _tallies(verdicts: Iterable[Verdict], key: Callable[[Verdict], Key]) -> dict[Key, Tally]:
    """A tally for each key, in the order in which keys first come."""
    groups: dict[Key, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(key(verdict), []).append(verdict)
    return {name: _tally(group) for name, group in groups.items()}


def _nested(tallies: dict[tuple[str, Key], Tally]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for (lang, name), tally in tallies.items():
        nested.setdefault(lang, {})[str(name)] = tally.to_dict()
    return nested
