"""A policy: the same noise whatever the order, the worker or the process; labels stay; shares are kept to."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from duologue.adversarial.carried import carried_spans
from duologue.adversarial.config import AdversarialConfig
from duologue.adversarial.dialogue import undo
from duologue.adversarial.dialogue_noise import FAMILIES, Material
from duologue.adversarial.draws import Draws
from duologue.adversarial.families import ALL_FAMILIES, DIALOGUE_FAMILIES, GROUPS
from duologue.adversarial.policy import Policy, families_in_use
from duologue.adversarial.preview import render_harder
from duologue.adversarial.protected import PROTECTED
from duologue.conversation import Conversation, Role
from duologue.errors import ConfigError
from duologue.tokenizer.bpe import END_OF_TURN


@pytest.fixture(scope="module")
def policy(builtin_rows: list[Conversation]) -> Policy:
    return Policy.of(AdversarialConfig(row_share=0.8, dialogue_share=0.4, seed=5), builtin_rows[:2000])


def test_undone_byte_for_byte(policy: Policy, builtin_rows: list[Conversation]) -> None:
    num_harder = 0
    for row in builtin_rows:
        harder = policy.harden(row)
        line = json.dumps(harder.to_dict(), ensure_ascii=False)
        assert undo(json.loads(line)) == row
        num_harder += harder.conversation != row
    assert num_harder > 0.7 * len(builtin_rows)


def test_replies_are_never_edited(policy: Policy, builtin_rows: list[Conversation]) -> None:
    for row in builtin_rows[:2000]:
        harder = policy.harden(row)
        learned = [message for message in harder.conversation.messages if message.is_learned]
        assert learned == [message for message in row.messages if message.is_learned]
        assert all(row.messages[turn].role is Role.USER for turn in harder.changes.edits)


def test_order_and_epoch(policy: Policy, builtin_rows: list[Conversation]) -> None:
    rows = builtin_rows[:300]
    straight = {row.to_json(): policy.harden(row).to_dict() for row in rows}
    shuffled = random.Random(1).sample(rows, len(rows))
    assert {row.to_json(): policy.harden(row).to_dict() for row in shuffled} == straight
    others = [policy.harden(row, epoch=1).to_dict() != straight[row.to_json()] for row in rows]
    assert sum(others) > 0.7 * len(rows)


def test_a_name_of_its_own_is_the_key(policy: Policy) -> None:
    row = Conversation.of("Could you tell me something about the weather?", "It rains.")
    named = replace(row, id="7")
    found = {policy.harden(replace(row, id=str(number))).conversation.messages for number in range(30)}
    assert len(found) > 10
    assert policy.harden(named).conversation == policy.harden(named).conversation


def test_scale_and_share(policy: Policy, builtin_rows: list[Conversation]) -> None:
    def edits_of(scale: float) -> int:
        return sum(len(e) for row in builtin_rows[:800] for e in policy.harden(row, scale=scale).changes.edits.values())

    assert edits_of(0.1) < edits_of(1.0)
    none = [policy.harden(row, share=0.0).conversation for row in builtin_rows[:100]]
    assert none == builtin_rows[:100]
    tenth = sum(bool(policy.harden(row, share=0.125).changes) for row in builtin_rows[:2000]) / 2000
    assert 0.07 < tenth < 0.13


def test_held_out_families_never_come(builtin_rows: list[Conversation]) -> None:
    config = AdversarialConfig(row_share=1.0, dialogue_share=0.5, hold_out=("sight", "hearing", "conflict"))
    policy = Policy.of(config, builtin_rows[:2000])
    came = Counter(name for row in builtin_rows[:2000] for name in policy.harden(row).families)
    held_out = {name for name, group in GROUPS.items() if group in ("sight", "hearing", "conflict")}
    assert len(held_out) == 11
    assert not held_out & set(came)
    assert set(came) == set(ALL_FAMILIES) - held_out
    with pytest.raises(ConfigError, match="hold_out: sigt: no such family or group of noise; did you mean sight"):
        AdversarialConfig(hold_out=("sigt",))
    with pytest.raises(ConfigError, match="none is left"):
        families_in_use(AdversarialConfig(families=("sight",), hold_out=("sight",)))


def test_all_families_come(builtin_rows: list[Conversation]) -> None:
    policy = Policy.of(AdversarialConfig(row_share=1.0, dialogue_share=0.5), builtin_rows[:2000])
    assert {name for row in builtin_rows for name in policy.harden(row).families} == set(ALL_FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_courses_keep_the_question_and_add_no_loss(family, builtin_rows: list[Conversation]) -> None:
    material, num_changed = Material.of(builtin_rows[:2000]), 0
    for number, row in enumerate(builtin_rows[:1500]):
        turns = [turn for turn, message in enumerate(row.messages) if message.role is Role.USER]
        turn = turns[-1]
        changes = family.apply(row, turn, material, Draws(number))
        added = [message for messages in changes.added.values() for message in messages]
        assert not any(message.is_learned for message in added)
        said = "".join(message.content for message in added if message.role is Role.USER)
        for edit in changes.edits.get(turn, ()):
            assert edit.old.strip() in said  # what is taken out of a turn was said in the one before
        num_changed += bool(changes)
    assert num_changed >= 30


def test_a_request_is_never_cut_inside_what_is_protected() -> None:
    asked = 'Now: see https://a.org/b?c=1, mail john.smith@mail.com, run `f(a, b)`, say "Hello, my friend", then: go.'
    row, family = Conversation.of(asked, "Done."), DIALOGUE_FAMILIES["in-pieces"]
    for number in range(60):
        changes = family.apply(row, 0, Material({}), Draws(number))
        end = changes.edits[0][0].end
        assert not any(a < end < b for a, b in (found.span() for found in PROTECTED.finditer(asked)))


def test_a_question_about_what_was_just_said_gets_no_other_topic() -> None:
    material = Material({"en": (("What is the capital of Japan?", "Tokyo."),)})
    for asked in ("How many people live there?", "What is my name?", "And before?"):
        row = Conversation.of("Capital of France?", "Paris.", asked, "Some.")
        assert not DIALOGUE_FAMILIES["another-topic"].apply(row, 2, material, Draws(1))


def test_material_does_not_depend_on_the_order(builtin_rows: list[Conversation]) -> None:
    assert Material.of(builtin_rows) == Material.of(builtin_rows[::-1])


def test_control_text_in_a_turn_stays_text(tokenizer, builtin_rows: list[Conversation]) -> None:
    """A user who writes control text closes no turn: the noise that does so is only text."""
    family, material = DIALOGUE_FAMILIES["injection"], Material({})
    row = Conversation.of("What is up?", "All is well.")
    ends = set()
    for number in range(40):
        edits = family.apply(row, 0, material, Draws(number)).edits[0]
        text = row.messages[0].content + edits[0].new
        ends.add(END_OF_TURN in text)
        assert tokenizer.end_of_turn_id not in tokenizer.encode(text)
    assert ends == {True, False}


def test_carried_letters() -> None:
    def carried(question: str, reply: str) -> list[str]:
        return [question[start:end] for start, end in carried_spans(question, [reply])]

    assert carried("my name is anna, hi", "Nice to meet you, Anna!") == ["anna"]
    assert carried("Spell kite, please", "It is spelled k i t e.") == ["kite"]
    assert carried("Spell kite backwards", "It is spelled e t i k.") == ["kite"]
    assert carried("What is the capital of France?", "The capital of France is Paris.") == ["France"]
    assert carried("Is the sky blue?", "The sky is blue.") == []
    assert carried("我叫小明，你好", "你好，小明！") == ["小明"]
    assert carried("苹果拆成单个的字", "是“苹”“果”。") == ["苹果"]
    assert carried("法国的首都在哪里", "法国的首都是巴黎。") == []


def test_preview_shows_what_cannot_be_seen() -> None:
    config = AdversarialConfig(row_share=1.0, families=("zero-width",))
    harder = Policy.of(config).harden(Conversation.of("Please help me with something", "Yes."))
    assert "⟨" in render_harder(harder).plain
    assert "zero-width" in render_harder(harder).plain
