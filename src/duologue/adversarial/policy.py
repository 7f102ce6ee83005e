"""Which dialogues are made harder, how, and how much: a pure function of the seed, the epoch and the dialogue."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from duologue.adversarial.carried import carried_spans
from duologue.adversarial.config import AdversarialConfig
from duologue.adversarial.dialogue import Changes, HarderDialogue, with_edit
from duologue.adversarial.dialogue_noise import DialogueFamily, Material
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Edit, Span
from duologue.adversarial.families import ALL_FAMILIES, DIALOGUE_FAMILIES, TEXT_FAMILIES, select_families
from duologue.adversarial.family import Family, Group, perturb
from duologue.adversarial.text_view import TextView
from duologue.config import require
from duologue.conversation import Conversation, Role

SECOND_SHARE = 0.3  # of the turns have noise of two families
TRIES = 3  # families that are asked for an edit before a turn is left as it is
LEAST_RATE = 0.02
INVISIBLE_WEIGHT = 0.3
REPLIES_LOOKED_AT = 20  # after a turn, for what they take from it letter by letter


@dataclass(frozen=True)
class Policy:
    """Makes dialogues harder.

    Attributes:
        config: how many and how much.
        names: the families in use.
        weights: how often a family is taken in comparison with others; 1 where none is given, and less for what a
            normaliser takes away.
        material: exchanges of other dialogues, for noise that needs them.
    """

    config: AdversarialConfig
    names: tuple[str, ...]
    material: Material = field(default_factory=lambda: Material({}))
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, config: AdversarialConfig, material: Iterable[Conversation] = ()) -> Policy:
        """The policy that a recipe's table describes.

        Raises:
            ConfigError: a family or group is not known, or none is left.
        """
        return cls(config, families_in_use(config), Material.of(material))

    def harden(
        self, row: Conversation, *, epoch: int = 0, scale: float = 1.0, share: float = 1.0,
        saliency: Callable[[int], Sequence[float]] | None = None,
    ) -> HarderDialogue:
        """The dialogue with noise in it, or as it is.

        Args:
            epoch: another one gives other noise.
            scale: how strong the noise is, 0 to 1, as a share of the most.
            share: the share of the usual number of dialogues that are made harder.
            saliency: to a turn, how much each of its characters matters to the model.
        """
        config, name = self.config, row.id or digest_of(row)
        if not self.is_struck(name, epoch=epoch, share=share):
            return HarderDialogue(row, Changes())
        key = (config.seed, epoch, name)
        draws = Draws(*key, "course")
        turns = [turn for turn, message in enumerate(row.messages) if message.role is Role.USER]
        changes = self._course(row, turns, draws) if draws.is_below(config.dialogue_share) else Changes()
        for turn in turns:
            of_turn = Draws(*key, turn)
            if of_turn.is_below(config.turn_share) or len(turns) == 1:
                rate = max(LEAST_RATE, of_turn.unit() * config.max_rate * scale)
                is_led = saliency is not None and of_turn.is_below(config.saliency_share)
                led = saliency(turn) if saliency and is_led else None
                edits = self._noise(row, turn, rate, changes.edits.get(turn, ()), of_turn, led)
                changes = with_edit(changes, turn, edits) if edits else changes
        return HarderDialogue(row, changes, _families_of(changes), scale)

    def is_struck(self, name: str, *, epoch: int, share: float = 1.0) -> bool:
        """Whether a dialogue of that name is made harder in an epoch."""
        return Draws(self.config.seed, epoch, name, "row").is_below(self.config.row_share * share)

    def _weight(self, family: Family | DialogueFamily) -> float:
        return self.weights.get(family.name, INVISIBLE_WEIGHT if family.group is Group.INVISIBLE else 1.0)

    def _course(self, row: Conversation, turns: list[int], draws: Draws) -> Changes:
        there = [DIALOGUE_FAMILIES[name] for name in self.names if name in DIALOGUE_FAMILIES]
        if not there or not turns:
            return Changes()
        turn = draws.pick(turns)
        for _ in range(TRIES):
            family = draws.pick_by(there, [self._weight(one) for one in there])
            if changes := family.apply(row, turn, self.material, draws):
                return changes
        return Changes()

    def _noise(
        self, row: Conversation, turn: int, rate: float, taken: tuple[Edit, ...], draws: Draws,
        saliency: Sequence[float] | None,
    ) -> tuple[Edit, ...]:
        view = TextView(row.messages[turn].content, carried_spans_of(row, turn))
        there = [family for name in self.names if (family := TEXT_FAMILIES.get(name)) and suits(family, view)]
        edits = list(taken)
        wanted = 2 if draws.is_below(SECOND_SHARE) else 1
        for _ in range(TRIES):
            if not there or wanted == 0:
                break
            family = draws.pick_by(there, [self._weight(one) for one in there])
            there.remove(family)
            found = perturb(view, family, rate / wanted, draws, taken=edits, weight_of=weight_by(saliency))
            wanted -= len(found) > len(edits)
            edits = found
        return tuple(edits)


def weight_by(saliency: Sequence[float] | None) -> Callable[[Span], float] | None:
    """How much rather a span is struck: by the character in it that matters most; None = all alike."""
    if saliency is None:
        return None

    def weight_of(span: Span) -> float:
        return max(saliency[span[0] : max(span[1], span[0] + 1)], default=0.0)

    return weight_of


def families_in_use(config: AdversarialConfig) -> tuple[str, ...]:
    """The families that a table names, or all, without those that it holds out."""
    named = select_families(config.families) if config.families else ALL_FAMILIES
    held_out = select_families(config.hold_out)
    left = tuple(name for name in named if name not in held_out)
    require(bool(left), "hold_out", ", ".join(config.hold_out), "some families to be left; none is left")
    return left


def suits(family: Family, view: TextView) -> bool:
    """Whether a family is for texts in this language."""
    return family.lang in (None, view.lang)


def carried_spans_of(row: Conversation, turn: int) -> list[tuple[int, int]]:
    """What the replies after a turn take from it letter by letter."""
    later = (message.content for message in row.messages[turn:] if message.role is Role.ASSISTANT)
    return carried_spans(row.messages[turn].content, itertools.islice(later, REPLIES_LOOKED_AT))


def digest_of(row: Conversation) -> str:
    """Names a dialogue by what is said in it."""
    said = "\x00".join(f"{message.role}\x01{message.content}" for message in row.messages)
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _families_of(changes: Changes) -> tuple[str, ...]:
    named = [edit.family for edits in changes.edits.values() for edit in edits]
    return tuple(dict.fromkeys([*named, *([changes.added_by] if changes.added else [])]))
