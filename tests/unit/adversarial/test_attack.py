"""Attacks, on goals whose worst answer is known: each search does better than the one before it, within its budget."""

import pytest

from duologue.adversarial.attack import Attack, last_question
from duologue.adversarial.constraints import Answerable, MaxEditRate, MaxTokenGrowth, kept_share, survives_normaliser
from duologue.adversarial.dialogue import Changes, HarderDialogue
from duologue.adversarial.draws import Draws
from duologue.adversarial.edits import Edit
from duologue.adversarial.families import TEXT_FAMILIES
from duologue.adversarial.search import BeamAttack, SaliencyGreedy, Target, WorstOfK
from duologue.conversation import Conversation

ROW = Conversation.of("please tell everybody about wonderful mountains", "They are high.")
FAMILIES = [TEXT_FAMILIES[name] for name in ("en-swap", "en-drop", "en-double", "en-keyboard", "en-insert")]
FRAGILE = "mountains"


class Fragile:
    """A model that stumbles over one word alone: its score is how many of that word's letters are gone."""

    def __init__(self) -> None:
        self.num_asked = 0

    def scores(self, dialogues) -> list[float]:
        self.num_asked += len(dialogues)
        return [float(FRAGILE not in row.messages[0].content) for row in dialogues]

    def saliency(self, dialogue, turn) -> list[float]:
        text = dialogue.messages[turn].content
        start = text.index(FRAGILE)
        return [float(start <= place < start + len(FRAGILE)) for place in range(len(text))]


class FarFromClean:
    """Counts words that were not there: every further edit can add one."""

    def scores(self, dialogues) -> list[float]:
        clean = set(ROW.messages[0].content.split())
        return [float(len(set(row.messages[0].content.split()) - clean)) for row in dialogues]

    def saliency(self, dialogue, turn) -> list[float]:
        return [1.0] * len(dialogue.messages[turn].content)


def share_of_success(search, seeds: int = 60) -> float:
    return sum(Attack(Fragile(), FAMILIES, search, rate=0.01, seed=seed)(ROW).has_hurt for seed in range(seeds)) / seeds


def test_more_tries_find_more_and_saliency_finds_it_at_once() -> None:
    one, sixteen, led = (share_of_success(search) for search in (WorstOfK(1), WorstOfK(16), SaliencyGreedy(1, 1)))
    assert 0.05 < one < 0.4  # one word in six
    assert sixteen > 0.9
    assert led > 0.9  # a letter doubled at the end leaves the word in it


def test_queries_are_counted() -> None:
    for search, most in ((WorstOfK(16), 17), (SaliencyGreedy(4, 4), 18), (BeamAttack(3, 3, 4), 1 + 4 + 12 + 12)):
        goal = Fragile()
        result = Attack(goal, FAMILIES, search)(ROW)
        asked = goal.num_asked + isinstance(search, SaliencyGreedy)
        assert result.num_queries == asked <= most


def test_beams_go_further_than_one_step() -> None:
    goal = FarFromClean()
    one = [Attack(goal, FAMILIES, WorstOfK(4), rate=0.01, seed=seed)(ROW).after for seed in range(20)]
    beams = [Attack(goal, FAMILIES, BeamAttack(3, 3, 4), seed=seed)(ROW) for seed in range(20)]
    assert sum(one) <= 20
    assert sum(result.after for result in beams) > 50
    assert all(len(result.harder.changes.edits[0]) <= 3 for result in beams)


def test_an_attack_that_finds_nothing_changes_nothing() -> None:
    class Deaf(Fragile):
        def scores(self, dialogues) -> list[float]:
            return [0.0] * len(dialogues)

    result = Attack(Deaf(), FAMILIES, WorstOfK(8))(ROW)
    assert not result.has_hurt
    assert result.harder.conversation == ROW
    assert Attack(Deaf(), FAMILIES, WorstOfK(8))(Conversation(())).num_queries == 1


def test_same_seed_same_attack() -> None:
    attacks = [Attack(FarFromClean(), FAMILIES, BeamAttack(), seed=3)(ROW) for _ in range(2)]
    assert attacks[0] == attacks[1]
    assert Attack(FarFromClean(), FAMILIES, BeamAttack(), seed=4)(ROW) != attacks[0]


def test_constraints_hold_of_all_that_is_found() -> None:
    growth = MaxTokenGrowth(0.05, len)
    for seed in range(30):
        limits = (MaxEditRate(0.2), growth)
        found = Attack(FarFromClean(), FAMILIES, WorstOfK(8), rate=1.0, constraints=limits, seed=seed)(ROW)
        assert len(found.harder.changes.edits.get(0, ())) <= 1.2
        assert growth(found.harder)
    invisible = Target.of(ROW, 0, [TEXT_FAMILIES["zero-width"]], 0.2, (survives_normaliser,))
    assert invisible.proposals(Draws(1), 5) == []


def test_information_that_is_kept() -> None:
    bits = {"": 40.0, "clean": 10.0, "noisy": 25.0, "gone": 40.0}
    row = Conversation.of("clean", "reply")

    def with_question(text: str) -> HarderDialogue:
        return HarderDialogue(row, Changes({0: (Edit(0, 5, "clean", text),)}))

    def bits_of(one: Conversation) -> float:
        return bits[one.messages[0].content]

    assert kept_share(bits_of, with_question("noisy")) == pytest.approx(0.5)
    assert kept_share(bits_of, with_question("gone")) == pytest.approx(0.0)
    assert Answerable(bits_of, least=0.5)(with_question("noisy"))
    assert not Answerable(bits_of)(with_question("noisy"))


def test_last_question() -> None:
    assert last_question(Conversation.of("a", "b", "c")) == 2
    assert last_question(ROW) == 0
    assert last_question(Conversation(())) is None
