"""The report on dialogue files, what is kept back for validation, and the command ``duologue data``."""

import io
import json
import tracemalloc
from pathlib import Path

import pytest
from rich.console import Console

from duologue.cli.main import main
from duologue.conversation import Conversation, Message, Role
from duologue.data.check import Lengths, check
from duologue.data.duplicates import signature
from duologue.data.formats import PlainText
from duologue.data.language import guess_language
from duologue.data.loss_mask import Span, spans_by_message
from duologue.data.report import render_report, render_spans
from duologue.data.validation import is_validation
from duologue.errors import ConfigError, DataError

ROWS = [
    Conversation.of("Hello there", "Hi!", "How are you?", "Fine."),
    Conversation.of("你好，今天怎么样？", "很好，谢谢。"),
    Conversation.of("hello there", "hi", "how are you", "fine"),
    Conversation.of("Hello there", "Hi!", "How are you?", "Fine."),
    Conversation.of("anyone?"),
    Conversation.of("1 + 1", "2", lang="zh"),
]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.jsonl"
    bad = ["{", '{"foo": 1}']
    lines = [row.to_json() for row in ROWS] + bad + ['{"text": "Once upon a time"}']
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([ROWS[0].to_json(), *["[red]{"] * 30]), encoding="utf-8")
    return path


def test_report_counts_everything(mixed: Path) -> None:
    report = check(mixed).to_dict()
    bad_rows = report.pop("bad_rows")
    assert report == {
        "files": [{"path": str(mixed), "format": "messages", "num_rows": 9, "num_bad": 2}],
        "num_rows": 7,
        "num_conversations": 6,
        "num_plain_texts": 1,
        "num_without_reply": 1,
        "languages": {"en": 5, "zh": 2},
        "characters": {"median": 16, "p90": 31, "max": 31},
        "turns": {"median": 2, "p90": 4, "max": 4},
        "num_exact_duplicates": 1,
        "num_near_duplicates": 1,
        "num_bad": 2,
        "bad_counts": {"bad JSON": 1, "unknown shape": 1},
        "problem": None,
    }
    assert [(bad["line"], bad["kind"]) for bad in bad_rows] == [(7, "bad JSON"), (8, "unknown shape")]


def test_too_many_bad_rows_are_reported_not_raised(broken: Path) -> None:
    report = check([broken])
    assert report.problem is not None
    assert "30 of 31 rows" in report.problem
    assert (report.num_bad, len(report.bad_rows)) == (30, 10)


def test_lengths_are_exact_where_rows_are_short(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    texts = [*("x" * length for length in range(1, 100)), "y" * 123_456]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert check(path).characters == Lengths(median=50, p90=90, max=123_456)


def test_memory_is_flat_but_for_the_duplicates(tmp_path: Path) -> None:
    num_rows = 8_000
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for number in range(num_rows):
            file.write(Conversation.of(f"{number} " * 200, "a" * 1500).to_json() + "\n")
    signature("warm up")
    tracemalloc.start()
    report = check(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 18_000_000
    assert report.num_rows == num_rows
    assert peak < (3 << 20) + 32 * num_rows


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("Hello, how are you?", "en"),
        ("你好，今天怎么样？", "zh"),
        ("请把 hello world 翻译成中文", "zh"),
        ("The word 你好 means hello, and people say it when they meet.", "en"),
        ("これはペンです。", "other"),
        ("Привет, как дела?", "other"),
        ("12 + 30 = 42", "other"),
    ],
)
def test_language_is_told_by_the_characters(text: str, lang: str) -> None:
    assert guess_language(text) == lang


def test_validation_keeps_equal_questions_together() -> None:
    rows = [Conversation.of(f"question {n // 2}", f"answer {n}", system=str(n)) for n in range(4000)]
    sides: dict[bool, list[Conversation]] = {True: [], False: []}
    for row in rows:
        sides[is_validation(row, fraction=0.1)].append(row)
    training, validation = sides[False], sides[True]
    assert len(training) + len(validation) == 4000
    assert 300 < len(validation) < 500
    learned, kept = ({row.text.partition("answer")[0].split()[-1] for row in part} for part in (training, validation))
    assert (len(learned) + len(kept), learned & kept) == (2000, set())


def test_validation_only_grows_with_the_fraction() -> None:
    texts = [PlainText(str(n)) for n in range(500)]
    small, large = ({row.text for row in texts if is_validation(row, fraction=part)} for part in (0.05, 0.3))
    assert small < large
    assert not any(is_validation(row, fraction=0) for row in texts)
    with pytest.raises(ConfigError, match="validation fraction"):
        is_validation(texts[0], fraction=1)


def test_replies_and_their_ends_are_learned_and_nothing_else() -> None:
    turns = (Message(Role.USER, "a"), Message(Role.ASSISTANT, "b"), Message(Role.ASSISTANT, "c", weight=0))
    spans = spans_by_message(Conversation(turns))
    assert [span.text for span in spans if span.is_learned] == ["b<|im_end|>"]
    assert "".join(span.text for span in spans) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n"
    )


def test_what_strangers_wrote_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "[bold]a.jsonl"
    path.write_text(ROWS[0].to_json() + '\n{"text": "[red]\x1b[31m\n')
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    console.print(render_report(check(path)))
    console.print(render_spans([Span("[red]\x1b]0;title\x07", True)]))
    assert "\x1b" not in shown.getvalue()
    assert shown.getvalue().count("[red]\\x1b") == 2
    assert "[bold]a.jsonl" in shown.getvalue()


def test_command_check(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(mixed), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == check(mixed).to_dict()
    assert "mixed.jsonl:7: is not JSON" in err
    assert main(["data", "check", str(mixed)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_command_check_fails_where_training_would_stop(
    broken: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert main(["data", "check", str(broken), *flags]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith(f"duologue data: {broken}: 30 of 31 rows")
    assert (json.loads(out)["num_bad"] == 30) if flags else out == ""


def test_command_show(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", str(mixed), "--index", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert (shown["path"], shown["line"]) == (str(mixed), 2)
    assert [span["text"] for span in shown["spans"] if span["is_learned"]] == ["很好，谢谢。<|im_end|>"]
    assert "很好" in err


@pytest.mark.parametrize("index", ["7", "-1", "x"])
def test_command_show_refuses_an_index_that_is_not_there(
    mixed: Path, capsys: pytest.CaptureFixture[str], index: str
) -> None:
    assert main(["data", "show", str(mixed), f"--index={index}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_command_show_paints_tokens(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from duologue.tokenizer.config import TokenizerConfig
    from duologue.tokenizer.tokenizer import Tokenizer

    tokenizer = Tokenizer.train([row.text for row in ROWS], TokenizerConfig(vocab_size=300))
    tokenizer.save_pretrained(tmp_path / "model", max_length=64)
    painted = []
    for model in ([], ["--model", str(tmp_path / "model")]):
        for index in ("0", "6"):
            assert main(["data", "show", str(mixed), "--index", index, "--json", *model]) == 0
            spans = json.loads(capsys.readouterr().out)["spans"]
            painted.append(("".join(span["text"] for span in spans), [s["text"] for s in spans if s["is_learned"]]))
    assert painted[0] == painted[2]
    assert painted[1][0] == painted[3][0] == "Once upon a time"


def test_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == DataError.exit_code
    assert capsys.readouterr().err == f"duologue data: {tmp_path / 'none.jsonl'}: no such file\n"
    assert main(["data"]) == 2
