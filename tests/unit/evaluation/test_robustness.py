"""The robustness card: intervals, what is admitted, what is recovered, with models whose behaviour is known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from duologue.adversarial.dialogue_noise import Material
from duologue.adversarial.repair import OBJECTIONS as LEARNED
from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_test
from duologue.errors import DataError
from duologue.evaluation.intervals import Interval, bootstrap, ratio
from duologue.evaluation.noise_cases import Case, cases_of, spread_over, with_noise
from duologue.evaluation.recovery import MEAN, recovered
from duologue.evaluation.robustness import OBJECTIONS, Card, Damage, RobustnessSuite, Settings
from duologue.evaluation.robustness_report import card_as_markdown, plot_card, render_card
from duologue.generation.engine import Engine


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(120):
        values = rng.normal(0.3, 1.0, size=80)
        found = ratio(values, np.ones(80))
        hits += found.low <= 0.3 <= found.high
    assert hits >= 105  # 114 on average
    assert ratio(np.array([1.0, 3.0]), np.array([2.0, 2.0])).value == 1.0
    whole = bootstrap(lambda counts: counts.sum(axis=1), 10)
    assert whole == Interval(10.0, 10.0, 10.0)


def test_cases_end_with_a_question_and_its_reply() -> None:
    rows = [
        Conversation.of("a", "b", "c"),
        Conversation.of("a"),
        *builtin_test(items_per_skill=1, seed=0),
    ]
    cases = cases_of(rows, 100)
    assert cases[0].row.messages[-1].content == "b"
    assert all(case.row.messages[-1].role == "assistant" for case in cases)
    assert sum(bool(case.answers) for case in cases) == len(cases) - 1
    assert [case.row.messages[0].content for case in spread_over(cases, 3)] != []
    assert len(spread_over(cases, 3)) == 3


def test_noise_is_the_same_whatever_else_is_asked() -> None:
    cases = cases_of(builtin_test(items_per_skill=4, seed=0), 100)
    for family in ("en-swap", "zh-shape", "another-topic", "number"):
        material = Material.of(case.row for case in cases)
        all_of_them = with_noise(cases, family, 0.2, material, seed=1)
        assert len(all_of_them) > 10
        some = with_noise(cases[5:], family, 0.2, material, seed=1)
        assert {one.number - 5 for one in all_of_them if one.number >= 5} == {one.number for one in some}


def damage(family: str, lost: list[float], *, is_admitted: bool = True) -> Damage:
    count = len(lost)
    clean = np.full(count, 10.0)
    return Damage(family, "medium", tuple(range(count)), clean + lost, clean, np.full(count, 8.0),
                  ratio(np.array(lost), np.full(count, 8.0)), is_admitted)  # fmt: skip


def card(*damages: Damage) -> Card:
    nothing = Interval(1.0, 1.0, 1.0)
    return Card(40, nothing, 1.0, None, 0, damages, {}, {}, None, 0, "x", 0.0)


def test_what_is_recovered() -> None:
    rng = np.random.default_rng(1)
    lost = rng.uniform(2, 6, size=40)
    base = card(damage("a", lost.tolist()), damage("b", lost.tolist()), damage("c", lost.tolist(), is_admitted=False))
    other = card(damage("a", (lost / 4).tolist()), damage("b", lost.tolist()), damage("c", lost.tolist()))
    found = recovered(base, other)
    assert set(found) == {"a", "b", MEAN}
    assert found["a"].value == pytest.approx(0.75)
    assert found["b"].value == pytest.approx(0.0)
    assert found[MEAN].value == pytest.approx(0.375)
    assert found[MEAN].low <= 0.375 <= found[MEAN].high
    assert recovered(base, other, families=["b"])[MEAN].value == pytest.approx(0.0)
    assert recovered(base, base)[MEAN].value == pytest.approx(0.0)
    # What a model loses on clean text is charged to it: all its losses are counted from the baseline's clean ones.
    worse_clean = card(damage("a", (lost / 4 + 1).tolist()), damage("b", lost.tolist()))
    assert recovered(base, worse_clean)["a"].value == pytest.approx(0.75 - 40 / lost.sum())


@pytest.fixture
def suite() -> RobustnessSuite:
    cases = cases_of(builtin_test(items_per_skill=2, seed=0), 60)
    return RobustnessSuite(cases, SETTINGS, Material.of(case.row for case in cases))


SETTINGS = Settings(("en-swap", "zh-shape", "zero-width", "injection"), num_checked=8, num_attacked=4)


def test_a_card_of_a_real_engine(suite: RobustnessSuite, tiny_model, tokenizer, tmp_path) -> None:
    found = suite.measure(Engine(tiny_model.eval(), tokenizer))
    assert found.num_rows == len(suite.cases)
    assert {one.family for one in found.damages} == set(SETTINGS.families)
    assert {one.severity for one in found.damages if one.family == "en-swap"} == {"light", "medium", "strong"}
    assert [one.severity for one in found.damages if one.family == "injection"] == ["medium"]
    assert found.exact_match == 0.0  # random weights
    assert found.attacks == {}  # nothing was right, so nothing could be turned wrong
    assert found.repair is not None
    assert found.repair["right_to_wrong"] is None
    again = suite.measure(Engine(tiny_model.eval(), tokenizer))
    assert [one.gap for one in again.damages] == [one.gap for one in found.damages]
    as_json = json.loads(json.dumps(found.to_dict()))
    assert set(as_json["no_damage_found"]) <= set(SETTINGS.families)
    assert as_json["gone_by_normaliser"] == ["zero-width"]
    assert not any(one.is_admitted for one in found.damages if one.family == "zero-width")
    assert "en-swap" in card_as_markdown(found, "mine", recovered(found, again))
    assert render_card(found, recovered(found, again))
    plot_card(found, tmp_path / "card.png")
    assert (tmp_path / "card.png").read_bytes()[:4] == b"\x89PNG"


def test_those_that_are_asked_are_of_both_languages(suite: RobustnessSuite) -> None:
    assert {suite.cases[number].row.lang for number in suite._checked} == {"en", "zh"}


def test_damage_to_rows_is_the_difference_of_their_likelihoods(suite: RobustnessSuite, tiny_model, tokenizer) -> None:
    from duologue.evaluation.goals import ResponseLoss

    loss = ResponseLoss(tiny_model.eval(), tokenizer)
    found = suite.measure(Engine(tiny_model, tokenizer))
    one = next(one for one in found.damages if one.family == "en-swap" and one.severity == "strong")
    noisy = with_noise(suite.cases, "en-swap", 0.3, suite.material, seed=0)
    bits = loss.bits([case.harder.conversation for case in noisy])
    before = loss.bits([suite.cases[case.number].row for case in noisy])
    assert one.rows == tuple(case.number for case in noisy)
    num_bytes = sum(len(suite.cases[case.number].row.messages[-1].content.encode()) for case in noisy)
    assert one.gap.value == pytest.approx((sum(bits) - sum(before)) / num_bytes, rel=1e-4, abs=1e-5)


def test_objections_are_not_in_words_that_are_trained() -> None:
    claims = [claim for _, claims, _ in LEARNED.values() for claim in claims]
    asked = [said.lower() for wordings in OBJECTIONS.values() for said in wordings]
    assert not [claim for claim in claims for said in asked if claim.lower() in said]


def test_models_on_other_rows_are_not_compared(suite: RobustnessSuite) -> None:
    one, other = damage("a", [1.0] * 40), dataclasses.replace(damage("a", [1.0] * 40), rows=tuple(range(1, 41)))
    with pytest.raises(ValueError, match="other dialogues"):
        recovered(card(one), card(other))


def test_nothing_to_attack() -> None:
    with pytest.raises(DataError, match="nothing to attack"):
        RobustnessSuite([], SETTINGS, Material({}))
    assert Case(Conversation.of("a", "b")).question == Conversation.of("a")
