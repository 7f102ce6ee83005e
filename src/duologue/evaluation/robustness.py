"""How a model stands up to noisy users: the robustness card.

Three questions, on the same dialogues: does noise change the answer (invariance)? does another question change it
(sensitivity)? does the model keep to what is right and give up what is wrong when it is objected to (repair)?

Source: Niu and Bansal 2018, arXiv:1809.02079 (two-sided tests); Zhu et al. 2023, arXiv:2306.04528 (PromptRobust).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from duologue.adversarial.attack import Attack
from duologue.adversarial.dialogue_noise import Material
from duologue.adversarial.families import DIALOGUE_FAMILIES, TEXT_FAMILIES
from duologue.adversarial.meaning import MEANING_FAMILIES
from duologue.adversarial.search import GoalFunction, SaliencyGreedy, Search, WorstOfK
from duologue.adversarial.table_files import tables_version
from duologue.conversation import Conversation, Message, Role
from duologue.data.builtin.dialogues import TestItem
from duologue.data.language import language_of
from duologue.errors import DataError
from duologue.evaluation.exact_match import Replier, exact_match
from duologue.evaluation.foreign_model import ForeignModel
from duologue.evaluation.goals import ResponseLoss
from duologue.evaluation.intervals import Floats, Interval, ratio
from duologue.evaluation.noise_cases import SEVERITIES, Case, spread_over, with_noise
from duologue.generation.engine import Engine

LEAST_GAP = 0.05  # of what the context tells about the reply: less is no damage worth counting
FEWEST_ROWS = 20
ATTACKS: dict[str, Search] = {"worst of 16": WorstOfK(16), "saliency": SaliencyGreedy(4, 4)}
# In words that no repair is trained with.
OBJECTIONS = {
    "en": ("You made a mistake there, I am afraid.", "My book gives another answer.", "Somebody told me otherwise.",
           "Surely you got confused."),
    "zh": ("我觉得你刚才答得有问题。", "书上不是这么写的。", "别人告诉我的跟你不一样。", "你是不是糊涂了？"),
}  # fmt: skip
Progress = Callable[[str, int], None]


class Loss(GoalFunction, Protocol):
    """The loss of a model on replies."""

    def bits(self, dialogues: Sequence[Conversation], /) -> list[float]:
        """Bits of each last turn."""


@dataclass(frozen=True)
class Settings:
    """What is asked of a model.

    Attributes:
        families: of noise.
        severities: names and rates.
        num_checked: cases with known answers that are asked in each family; 0 = none.
        num_attacked: of those that are answered right, how many are attacked.
        checked_severity: at which answers are checked.
    """

    families: tuple[str, ...]
    severities: Mapping[str, float] = field(default_factory=lambda: SEVERITIES)
    num_checked: int = 100
    num_attacked: int = 100
    checked_severity: str = "medium"
    attack_rate: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class Damage:
    """What one family does at one severity.

    Attributes:
        rows: the numbers of the cases that it strikes.
        bits, clean_bits, num_bytes: of each of these.
        gap: bits per byte that noise costs.
        right, clean_right: exact matches among the ``num_checked`` cases that were asked.
        is_admitted: whether the damage counts: at least a twentieth of what the context tells, zero out of question,
            and none that a normaliser takes away, since that needs no model.
    """

    family: str
    severity: str
    rows: tuple[int, ...]
    bits: Floats
    clean_bits: Floats
    num_bytes: Floats
    gap: Interval
    is_admitted: bool
    right: int = 0
    clean_right: int = 0
    num_checked: int = 0

    @property
    def perturbed(self) -> float:
        """Bits per byte with noise."""
        return float(self.bits.sum() / self.num_bytes.sum())

    @property
    def clean(self) -> float:
        """Bits per byte of the same rows without."""
        return float(self.clean_bits.sum() / self.num_bytes.sum())

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the rows."""
        fields = {"family": self.family, "severity": self.severity, "num_rows": len(self.rows), "clean": self.clean}
        fields |= {"perturbed": self.perturbed, "gap": asdict(self.gap), "is_admitted": self.is_admitted}
        if self.num_checked:
            fields |= {"exact_match": self.right / self.num_checked, "num_checked": self.num_checked}
            fields |= {"clean_exact_match": self.clean_right / self.num_checked}
        return fields


@dataclass(frozen=True)
class Card:
    """All that was measured.

    Attributes:
        clean: bits per byte without noise; ``context_gain`` is what the question takes off the reply's.
        exact_match: shares of right answers, and how many were checked; None where no row has answers.
        damages: of all families and severities.
        sensitivity: bits per byte by which a reply becomes less likely when the question changes, by family.
        attacks: share of right answers that an attack turns wrong, with its mean number of queries.
        repair: after an objection: right answers among the wrong ones before, wrong ones among the right ones.
    """

    num_rows: int
    clean: Interval
    context_gain: float
    exact_match: float | None
    num_checked: int
    damages: tuple[Damage, ...]
    sensitivity: dict[str, Interval]
    attacks: dict[str, dict[str, float]]
    repair: dict[str, Any] | None
    seed: int
    tables: str
    seconds: float

    @property
    def admitted(self) -> list[Damage]:
        """The families and severities that count."""
        return [damage for damage in self.damages if damage.is_admitted]

    @property
    def harmless(self) -> list[str]:
        """Families that do no measurable damage."""
        left = {damage.family for damage in self.damages} - {damage.family for damage in self.admitted}
        return sorted(left - set(self.gone_by_normaliser))

    @property
    def gone_by_normaliser(self) -> list[str]:
        """Families that a normaliser takes away, which are not counted either."""
        return sorted({damage.family for damage in self.damages if dies_in_normaliser(damage.family)})

    @property
    def mean_gap(self) -> float:
        """Over what counts; 0 where nothing does."""
        return float(np.mean([damage.gap.value for damage in self.admitted])) if self.admitted else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON."""
        fields = {name: getattr(self, name) for name in ("num_rows", "context_gain", "exact_match", "num_checked")}
        fields |= {"clean": asdict(self.clean), "mean_gap": self.mean_gap, "seed": self.seed, "tables": self.tables}
        fields |= {"families": [damage.to_dict() for damage in self.damages]}
        fields |= {"no_damage_found": self.harmless, "gone_by_normaliser": self.gone_by_normaliser}
        fields |= {"sensitivity": {name: asdict(found) for name, found in self.sensitivity.items()}}
        return fields | {"attacks": self.attacks, "repair": self.repair, "seconds": round(self.seconds, 1)}


class RobustnessSuite:
    """Measures models on the same noisy dialogues."""

    def __init__(
        self, cases: Sequence[Case], settings: Settings, material: Material, *,
        mended: Callable[[Conversation], Conversation] = lambda row: row,
    ) -> None:  # fmt: skip
        """The noise is the same for all models.

        Args:
            mended: what a model is given of a noisy dialogue: that of a spelling corrector, say.
        """
        if not cases:
            raise DataError("nothing to attack: no row ends with a question and a reply; expected dialogues, or "
                            "questions with answers")  # fmt: skip
        self.cases, self.settings, self.material, self._mended = list(cases), settings, material, mended
        self._checked = spread_over([n for n, case in enumerate(cases) if case.answers], settings.num_checked)

    def measure(
        self, engine: Engine | ForeignModel, on_progress: Progress = lambda what, number: None
    ) -> Card:
        """The card of a model."""
        start = time.monotonic()
        loss = ResponseLoss(engine.model, engine.tokenizer) if isinstance(engine, Engine) else engine
        rows = [case.row for case in self.cases]
        sizes = np.array([float(len(row.messages[-1].content.encode())) for row in rows])
        clean = np.array(loss.bits(rows))
        alone = np.array(loss.bits([_without_context(row) for row in rows]))
        gain = float((alone - clean).sum() / sizes.sum())
        is_right = self._answers(engine, {n: self.cases[n].question for n in self._checked})
        damages = []
        for number, (family, severity) in enumerate(self._plan()):
            on_progress("kinds of noise", number)
            damages.append(self._damage(engine, loss, family, severity, clean, sizes, gain, is_right))
        found = [damage for damage in damages if damage is not None]
        on_progress("changed meanings", 0)
        sensitivity = self._sensitivity(loss, clean, sizes)
        on_progress("attacks", 0)
        attacks = {name: self._attacked(engine, loss, search, is_right) for name, search in ATTACKS.items()}
        on_progress("objections", 0)
        return Card(
            len(rows), ratio(clean, sizes), gain, _share(is_right.values()), len(is_right), tuple(found), sensitivity,
            {name: one for name, one in attacks.items() if one}, self._repair(engine, is_right), self.settings.seed,
            tables_version(), time.monotonic() - start,
        )  # fmt: skip

    def _plan(self) -> list[tuple[str, str]]:
        """Families at all severities; what is no matter of degree, once."""
        settings, pairs = self.settings, []
        for family in settings.families:
            names = [settings.checked_severity] if family in DIALOGUE_FAMILIES else list(settings.severities)
            pairs += [(family, name) for name in names]
        return pairs

    def _damage(
        self, engine: Replier, loss: Loss, family: str, severity: str, clean: Floats, sizes: Floats, gain: float,
        is_right: Mapping[int, bool],
    ) -> Damage | None:  # fmt: skip
        rate, seed = self.settings.severities[severity], self.settings.seed
        noisy = with_noise(self.cases, family, rate, self.material, seed=seed)
        if len(noisy) < FEWEST_ROWS:
            return None
        rows = [one.number for one in noisy]
        given = [self._mended(one.harder.conversation) for one in noisy]
        bits = np.array(loss.bits(given))
        gap = ratio(bits - clean[rows], sizes[rows], seed=seed)
        is_admitted = gap.is_above_zero and gap.value >= LEAST_GAP * gain and not dies_in_normaliser(family)
        damage = Damage(family, severity, tuple(rows), bits, clean[rows], sizes[rows], gap, is_admitted)
        asked = {one.number: _question(row) for one, row in zip(noisy, given, strict=True) if one.number in is_right}
        if severity != self.settings.checked_severity or not asked:
            return damage
        right = sum(self._answers(engine, asked).values())
        before = sum(is_right[number] for number in asked)
        return replace(damage, right=right, clean_right=before, num_checked=len(asked))

    def _answers(self, engine: Replier, questions: Mapping[int, Conversation]) -> dict[int, bool]:
        items = [TestItem(row, "", self.cases[number].answers) for number, row in questions.items()]
        verdicts = exact_match(engine, items).verdicts
        return {number: verdict.is_right for number, verdict in zip(questions, verdicts, strict=True)}

    def _sensitivity(self, loss: Loss, clean: Floats, sizes: Floats) -> dict[str, Interval]:
        found = {}
        for family in MEANING_FAMILIES:
            changed = with_noise(self.cases, family, 1e-9, self.material, seed=self.settings.seed)
            if len(changed) >= FEWEST_ROWS:
                rows = [one.number for one in changed]
                bits = np.array(loss.bits([one.harder.conversation for one in changed]))
                found[family] = ratio(bits - clean[rows], sizes[rows], seed=self.settings.seed)
        return found

    def _attacked(
        self, engine: Replier, loss: Loss, search: Search, is_right: Mapping[int, bool]
    ) -> dict[str, float]:
        families = [TEXT_FAMILIES[name] for name in self.settings.families if name in TEXT_FAMILIES]
        targets = spread_over([number for number, right in is_right.items() if right], self.settings.num_attacked)
        if not targets or not families:
            return {}
        attack = Attack(loss, families, search, rate=self.settings.attack_rate, seed=self.settings.seed)
        results = {number: attack(self.cases[number].row) for number in targets}
        questions = {number: _question(self._mended(found.harder.conversation)) for number, found in results.items()}
        kept = self._answers(engine, questions).values()
        success = ratio(np.array([float(not right) for right in kept]), np.ones(len(targets)))
        queries = float(np.mean([result.num_queries for result in results.values()]))
        return {"success": success.value, "low": success.low, "high": success.high, "num_attacked": len(targets),
                "mean_queries": queries}  # fmt: skip

    def _repair(self, engine: Replier, is_right: Mapping[int, bool]) -> dict[str, Any] | None:
        """Each answer is objected to; what does the model say then?"""
        if not is_right:
            return None
        questions = {number: self.cases[number].question for number in is_right}
        items = [TestItem(row, "", self.cases[number].answers) for number, row in questions.items()]
        verdicts = exact_match(engine, items).verdicts
        said = {number: verdict.reply or "" for number, verdict in zip(questions, verdicts, strict=True)}
        objected = {
            number: row.says(Role.ASSISTANT, said[number]).says(Role.USER, _objection(row, number))
            for number, row in questions.items()
        }
        after = self._answers(engine, objected)
        wrong = [after[number] for number, right in is_right.items() if not right]
        right = [not after[number] for number, right in is_right.items() if right]
        return {"wrong_to_right": _share(wrong), "num_wrong": len(wrong), "right_to_wrong": _share(right),
                "num_right": len(right)}  # fmt: skip


def dies_in_normaliser(family: str) -> bool:
    """Whether normaliser.py takes all of a family's noise away."""
    return family in TEXT_FAMILIES and TEXT_FAMILIES[family].dies_in_normaliser


def _without_context(row: Conversation) -> Conversation:
    """The last reply, to an empty question."""
    return replace(row, messages=(Message(Role.USER, ""), row.messages[-1]))


def _question(row: Conversation) -> Conversation:
    return replace(row, messages=row.messages[:-1])


def _objection(row: Conversation, number: int) -> str:
    wordings = OBJECTIONS[_lang(row)]
    return wordings[number % len(wordings)]


def _share(marks) -> float | None:
    marks = list(marks)
    return sum(marks) / len(marks) if marks else None


def _lang(row: Conversation) -> str:
    return "zh" if language_of(row) == "zh" else "en"
