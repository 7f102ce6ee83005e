"""How an attack looks for the noise that hurts most: at random, the worst of some, greedily by saliency, by beams.

Each search asks a *goal* what dialogues are worth to the attacker, as many at once as it can.

Source: Yoo and Qi 2021, arXiv:2109.00544 (one gradient ranks the words); Ebrahimi et al. 2018, arXiv:1712.06751
(greedy and beam search over flips).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from duologue.adversarial.constraints import Constraint
from duologue.adversarial.dialogue import Changes, HarderDialogue
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Edit, Span
from duologue.adversarial.family import Family, perturb
from duologue.adversarial.policy import carried_spans_of, suits, weight_by
from duologue.adversarial.text_view import TextView
from duologue.conversation import Conversation

WeightOf = Callable[[Span], float]


class GoalFunction(Protocol):
    """What an attacker wants."""

    def scores(self, dialogues: Sequence[Conversation], /) -> list[float]:
        """How far each dialogue is where the attacker wants it; more is better for the attacker."""

    def saliency(self, dialogue: Conversation, turn: int, /) -> Sequence[float]:
        """How much each character of a turn matters to the score, none below zero."""


@dataclass(frozen=True)
class Target:
    """A turn under attack, and what may be done to it.

    Attributes:
        turn: the user's turn that is edited.
        families: kinds of noise to choose from.
        rate: edits that one proposal makes, as a share of words or characters.
        constraints: that all hold of whatever is proposed.
    """

    row: Conversation
    turn: int
    families: tuple[Family, ...]
    rate: float
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(
        cls, row: Conversation, turn: int, families: Sequence[Family], rate: float, constraints: Sequence[Constraint]
    ) -> Target:
        """The turn with those families that suit its language."""
        view = TextView(row.messages[turn].content)
        return cls(row, turn, tuple(one for one in families if suits(one, view)), rate, tuple(constraints))

    def view(self) -> TextView:
        """The turn as the families see it."""
        return TextView(self.row.messages[self.turn].content, carried_spans_of(self.row, self.turn))

    def harder(self, edits: Sequence[Edit]) -> HarderDialogue:
        """The dialogue with these edits."""
        names = tuple(dict.fromkeys(edit.family for edit in edits))
        return HarderDialogue(self.row, Changes({self.turn: tuple(edits)} if edits else {}), names, self.rate)

    def proposals(
        self, draws: Draws, count: int, *, taken: Sequence[Edit] = (), rate: float | None = None,
        weight_of: WeightOf | None = None,
    ) -> list[tuple[Edit, ...]]:  # fmt: skip
        """Up to so many different ways to edit the turn further; the constraints hold of each."""
        view, found = self.view(), dict[tuple[Edit, ...], None]()
        rate = self.rate if rate is None else rate
        for _ in range(2 * count):
            if not self.families or len(found) == count:
                break
            edits = tuple(perturb(view, draws.pick(self.families), rate, draws, taken=taken, weight_of=weight_of))
            if len(edits) > len(taken) and all(holds(self.harder(edits)) for holds in self.constraints):
                found[edits] = None
        return list(found)


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        edits: the worst it found; none where nothing was worse than the dialogue as it is.
        score: the goal's of these.
        num_queries: dialogues that the goal was asked about.
    """

    edits: tuple[Edit, ...]
    score: float
    num_queries: int


Search = Callable[[Target, GoalFunction, float, Draws], Found]


def _best(target: Target, goal: GoalFunction, before: Found, proposals: Sequence[tuple[Edit, ...]]) -> Found:
    if not proposals:
        return before
    scores = goal.scores([target.harder(edits).conversation for edits in proposals])
    asked = before.num_queries + len(proposals)
    score, place = max((score, -place) for place, score in enumerate(scores))
    if score <= before.score:
        return replace(before, num_queries=asked)
    return Found(proposals[-place], score, asked)


@dataclass(frozen=True)
class WorstOfK:
    """The worst of some random proposals; ``k = 1`` is what users do to a model who mean no harm."""

    k: int

    def __call__(self, target: Target, goal: GoalFunction, score: float, draws: Draws) -> Found:
        """Searches from a dialogue whose score is known."""
        return _best(target, goal, Found((), score, 0), target.proposals(draws, self.k))


@dataclass(frozen=True)
class SaliencyGreedy:
    """One edit after the other, where the gradient says that the model looks; of some proposals the worst is kept.

    Attributes:
        num_edits: at most.
        k: proposals for each of them.
    """

    num_edits: int = 4
    k: int = 4

    def __call__(self, target: Target, goal: GoalFunction, score: float, draws: Draws) -> Found:
        """Searches from a dialogue whose score is known; the saliency is worked out once, of the clean dialogue."""
        weight_of = weight_by([weight**2 for weight in goal.saliency(target.row, target.turn)])
        found = Found((), score, 1)
        for _ in range(self.num_edits):
            more = target.proposals(draws, self.k, taken=found.edits, rate=1e-9, weight_of=weight_of)
            after = _best(target, goal, found, more)
            if after.edits == found.edits:
                return after
            found = after
        return found


@dataclass(frozen=True)
class BeamAttack:
    """Edits one after the other, from the worst so far: so many of them are kept at each step.

    Attributes:
        width: dialogues kept.
        num_edits: steps.
        k: proposals from each kept one.
    """

    width: int = 3
    num_edits: int = 3
    k: int = 4

    def __call__(self, target: Target, goal: GoalFunction, score: float, draws: Draws) -> Found:
        """Searches from a dialogue whose score is known."""
        best = Found((), score, 0)
        beam: list[tuple[Edit, ...]] = [()]
        for _ in range(self.num_edits):
            more = [edits for taken in beam for edits in target.proposals(draws, self.k, taken=taken, rate=1e-9)]
            more = list(dict.fromkeys(more))
            if not more:
                break
            scores = goal.scores([target.harder(edits).conversation for edits in more])
            ranked = sorted(zip(scores, more, strict=True), key=lambda pair: -pair[0])
            asked = best.num_queries + len(more)
            worst, edits = ranked[0]
            best = Found(edits, worst, asked) if worst > best.score else replace(best, num_queries=asked)
            beam = [edits for _, edits in ranked[: self.width]]
        return best
