"""Right answers: what counts as right, and the report, with an engine that says what the test wants."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from duologue.conversation import Conversation, normalise
from duologue.data.builtin.dialogues import TestItem, builtin_test
from duologue.errors import ContextLengthError
from duologue.evaluation.exact_match import ExactMatchReport, Tally, exact_match
from duologue.evaluation.plot import plot_accuracy
from duologue.generation.config import GenerationConfig
from duologue.generation.events import FinishReason, GenerationOutput, GenerationStats


class FakeEngine:
    """Replies from a table; questions that are not in it are too long."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies = replies
        self.configs: list[GenerationConfig] = []

    def check(self, prompt: Conversation, config: GenerationConfig) -> None:
        if prompt.messages[-1].content not in self.replies:
            raise ContextLengthError("too long")

    def generate_batch(
        self, prompts: Sequence[Conversation], config: GenerationConfig, *, on_finished: Callable[[int], None] | None
    ) -> list[GenerationOutput]:
        self.configs.append(config)
        if on_finished:
            on_finished(len(prompts))
        texts = [self.replies[prompt.messages[-1].content] for prompt in prompts]
        numbers = ([[1]], [0.0], [0.0], [[0.0]], [FinishReason.STOP])
        return [GenerationOutput(*numbers, [text], GenerationStats()) for text in texts]


def item(question: str, *answers: str, skill: str = "sums", lang: str = "en", distance: int | None = None) -> TestItem:
    return TestItem(Conversation.of(question, lang=lang), skill, answers, distance)


ITEMS = [
    item("2+2", "4", "four"),
    item("1+2", "3"),
    item("一加一", "二。", lang="zh"),
    item("my name", "Ada", skill="recall", distance=1),
    item("my cat", "Tom", skill="recall", distance=16),
    item("my job", "Nurse", skill="recall", distance=16),
]
REPLIES = {"2+2": " Four! ", "1+2": "4", "一加一": "二", "my name": "ada.", "my cat": "Kim"}


@pytest.fixture
def report() -> ExactMatchReport:
    return exact_match(FakeEngine(REPLIES), ITEMS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is FIFTEEN.", "it is fifteen"),
        ("  two\t words \n", "two words"),
        ("你好。", "你好"),
        ("你好！", "你好!"),
        ("ＡＢＣ１２３", "abc123"),
        ("是的。 ！", "是的"),
        ("Straße", "STRASSE"),
        ("３．５", "3.5"),
    ],
)
def test_what_does_not_count(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("15", "16"), ("yes?", "yes"), ("3.5", "35"), ("a b", "ab"), ("是", "否")])
def test_what_counts(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_tallies(report: ExactMatchReport) -> None:
    assert report.overall == Tally(3, 6)
    assert report.by_language == {"en": Tally(2, 5), "zh": Tally(1, 1)}
    assert report.by_skill == {("en", "sums"): Tally(1, 2), ("zh", "sums"): Tally(1, 1), ("en", "recall"): Tally(1, 3)}
    assert report.by_distance == {("en", 1): Tally(1, 1), ("en", 16): Tally(0, 2)}
    assert report.worst_skills(2) == [("en", "recall", Tally(1, 3)), ("en", "sums", Tally(1, 2))]


def test_wrong_replies_are_kept(report: ExactMatchReport) -> None:
    assert [(verdict.item, verdict.reply) for verdict in report.wrong] == [
        (ITEMS[1], "4"), (ITEMS[4], "Kim"), (ITEMS[5], None),
    ]  # fmt: skip


def test_report_as_json(report: ExactMatchReport) -> None:
    fields = report.to_dict()
    assert (fields["accuracy"], fields["right"], fields["total"]) == (0.5, 3, 6)
    assert fields["by_skill"]["en"]["sums"] == {"accuracy": 0.5, "right": 1, "total": 2}
    assert fields["recall_by_distance"] == {
        "en": {"1": {"accuracy": 1.0, "right": 1, "total": 1}, "16": {"accuracy": 0.0, "right": 0, "total": 2}}
    }
    assert fields["wrong"][0] == {
        "lang": "en", "skill": "sums", "distance": None, "question": "1+2", "reply": "4", "expected": ["3"],
    }  # fmt: skip


def test_replies_are_greedy_and_progress_is_told() -> None:
    engine, told = FakeEngine(REPLIES), list[int]()
    exact_match(engine, iter(ITEMS), max_new_tokens=7, on_progress=told.append)
    assert engine.configs == [GenerationConfig(max_new_tokens=7)]
    assert not engine.configs[0].is_sampling
    assert told == [5]


def test_no_questions() -> None:
    assert exact_match(FakeEngine({}), []).to_dict()["accuracy"] == 0.0


def test_reference_answers_are_right() -> None:
    items = list(builtin_test(items_per_skill=3, seed=0))
    replies = {item.conversation.messages[-1].content: item.answers[0] for item in items}
    report = exact_match(FakeEngine(replies), items)
    assert {lang for lang, _ in report.by_skill} == {"en", "zh"}
    clashes = len(items) - len(replies)  # the same last question after different histories
    assert len(report.wrong) <= clashes


def test_the_plot_is_a_png(report: ExactMatchReport, tmp_path: Path) -> None:
    plot_accuracy(report, tmp_path / "accuracy.png")
    no_recall = exact_match(FakeEngine(REPLIES), [*ITEMS[:3], item("2+2", "4", skill="加法 $x$", lang="法")])
    plot_accuracy(no_recall, tmp_path / "skills.png")
    for name in ("accuracy.png", "skills.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
