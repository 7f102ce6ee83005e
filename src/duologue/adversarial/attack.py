"""An attack: what is wanted, what may be done, and how it is looked for; the same in training and in a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duologue.adversarial.constraints import Constraint
from duologue.adversarial.dialogue import HarderDialogue
from duologue.adversarial.draws import Draws
from duologue.adversarial.family import Family
from duologue.adversarial.policy import digest_of
from duologue.adversarial.search import GoalFunction, Search, Target
from duologue.conversation import Conversation, Role


@dataclass(frozen=True)
class AttackResult:
    """What came of an attack.

    Attributes:
        harder: the dialogue with the noise that was found; without any where none helped the attacker.
        before, after: the goal's score of the dialogue as it was, and as it is now.
        num_queries: dialogues that the goal was asked about, the first included.
    """

    harder: HarderDialogue
    before: float
    after: float
    num_queries: int

    @property
    def has_hurt(self) -> bool:
        """Whether the attacker is better off."""
        return self.after > self.before


@dataclass(frozen=True)
class Attack:
    """An attack on the last question of dialogues.

    Attributes:
        goal: what the attacker wants of the model.
        families: kinds of noise to choose from.
        search: how the worst is looked for.
        rate: edits of a random proposal, as a share of words or characters.
        constraints: that all hold of what is found.
    """

    goal: GoalFunction
    families: Sequence[Family]
    search: Search
    rate: float = 0.15
    constraints: Sequence[Constraint] = ()
    seed: int = 0

    def __call__(self, row: Conversation) -> AttackResult:
        """Attacks a dialogue: its last turn of the user's."""
        (before,) = self.goal.scores([row])
        turn = last_question(row)
        if turn is None:
            return AttackResult(Target(row, 0, (), self.rate).harder(()), before, before, 1)
        target = Target.of(row, turn, self.families, self.rate, self.constraints)
        draws = Draws(self.seed, row.id or digest_of(row), turn, "attack")
        found = self.search(target, self.goal, before, draws)
        return AttackResult(target.harder(found.edits), before, found.score, 1 + found.num_queries)


def last_question(row: Conversation) -> int | None:
    """The last turn of the user's; None where there is none."""
    turns = [turn for turn, message in enumerate(row.messages) if message.role is Role.USER]
    return turns[-1] if turns else None
