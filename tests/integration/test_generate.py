"""``generate``, ``score`` and ``chat`` as they are called, on a model folder with random weights."""

import io
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.cli.main import main
from duologue.conversation import Conversation
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine

HELLO = {"messages": [{"role": "user", "content": "hello"}], "tags": ["unknown fields are ignored"]}
NIHAO = {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你"}], "lang": "zh"}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_model(folder / "model")
    return folder


def write_rows(path: Path, *rows: object) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def pipe_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))


def test_a_reply_for_each_row_in_order(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [HELLO, NIHAO, "", HELLO]
    name = write_rows(tmp_path / "in.jsonl", *rows)
    assert main(["generate", str(run_folder), "--input", name, "--max-new-tokens", "6"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    engine = Engine.from_pretrained(run_folder / "model")
    for line, row in zip(lines, [HELLO, NIHAO, HELLO], strict=True):
        choice = line["choices"][0]
        assert set(choice) == {"text", "token_ids", "score", "sum_logprob", "finish_reason"}
        assert len(choice["token_ids"]) <= 6
        assert choice["text"] == engine.tokenizer.decode(choice["token_ids"])
        assert line["stats"]["prompt_tokens"] > 0
        [score] = engine.score(row["messages"], [choice["token_ids"]])
        assert choice["sum_logprob"] == pytest.approx(score.sum_logprob, abs=1e-4)
    pipe_in(monkeypatch, json.dumps(HELLO) + "\n")
    assert main(["generate", str(run_folder), "--input", "-", "--max-new-tokens", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["choices"][0]["token_ids"] == lines[0]["choices"][0]["token_ids"]


def test_several_replies_by_seed(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO)
    words = ["generate", str(run_folder), "--input", name, "--temperature", "1.2", "--num-return-sequences", "3"]
    found = []
    for seed in ("1", "1", "2"):
        assert main([*words, "--seed", seed, "--max-new-tokens", "8"]) == 0
        found.append(json.loads(capsys.readouterr().out)["choices"])
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 3
    assert [choice["score"] for choice in found[0]] == sorted((c["score"] for c in found[0]), reverse=True)


def test_flags_that_change_scores_do_what_they_say(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO)

    def ids(*flags: str) -> list[int]:
        assert main(["generate", str(run_folder), "--input", name, "--max-new-tokens", "8", *flags]) == 0
        return json.loads(capsys.readouterr().out)["choices"][0]["token_ids"]

    plain = ids()
    first, second = plain[:2]
    assert first not in ids("--suppress-tokens", f"{first},{second}")
    assert second not in ids("--suppress-tokens", f"{first},{second}")
    without_run = ids("--bad-words-ids", f"{first},{second}")
    assert without_run[0] == first
    assert (first, second) not in itertools.pairwise(without_run)
    assert ids("--sequence-bias", f"[[[{first}],-100.0]]")[0] != first
    assert ids("--sequence-bias", "[[[40],100.0]]") == [40] * 8
    searched = [ids("--num-beams", "3", "--early-stopping", word) for word in ("true", "false", "never")]
    engine = Engine.from_pretrained(run_folder / "model")
    for word, found in zip((True, False, "never"), searched, strict=True):
        config = GenerationConfig(max_new_tokens=8, num_beams=3, early_stopping=word)
        assert found == engine.generate(HELLO["messages"], config).sequences[0]


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--prefix", "I am "], r"I am .*"),
        (["--choices", "yes, I am", "--choices", "不"], r"yes, I am|不"),
        (["--regex", "[0-9]{3}-(cat|mat)"], r"[0-9]{3}-(cat|mat)"),
        (["--regex", "(你好|谢谢)!", "--num-beams", "3"], r"(你好|谢谢)!"),
    ],
)
def test_flags_that_bind_the_text_do_what_they_say(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], pattern: str
) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO)
    assert main(["generate", str(run_folder), "--input", name, "--max-new-tokens", "24", *flags]) == 0
    text = json.loads(capsys.readouterr().out)["choices"][0]["text"]
    assert re.fullmatch(pattern, text, flags=re.DOTALL), text


def test_the_model_carries_both_sides_on(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO)
    assert main(["generate", str(run_folder), "--input", name, "--turns", "4", "--max-new-tokens", "5"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert [turn["role"] for turn in line["turns"]] == ["assistant", "user"] * 2
    assert line["choices"][0]["token_ids"] == line["turns"][0]["token_ids"]


def test_the_models_own_settings_hold_where_no_flag_is_given(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO)
    settings = run_folder / "model" / "generation_config.json"
    settings.write_text('{"do_sample": false, "max_new_tokens": 3, "min_new_tokens": 3, "num_beams": 1}')
    try:
        assert main(["generate", str(run_folder), "--input", name]) == 0
    finally:
        settings.unlink()
    assert len(json.loads(capsys.readouterr().out)["choices"][0]["token_ids"]) == 3


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "line 3: is not JSON"),
        ("[1]", "line 3: is not an object"),
        ({"messages": []}, "line 3: messages is empty"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, "line 3: prompt has"),
    ],
)
def test_what_is_good_before_a_bad_line_is_printed(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: object, message: str
) -> None:
    name = write_rows(tmp_path / "in.jsonl", HELLO, NIHAO, bad, HELLO)
    assert main(["generate", str(run_folder), "--input", name, "--max-new-tokens", "2"]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--input", "nowhere.jsonl"], 1, "nowhere.jsonl: cannot be read"),
        (["--input", "-", "--temperature", "hot"], 2, "temperature: is 'hot'; expected a number"),
        (["--input", "-", "--turns", "0"], 2, "--turns: is 0"),
        (["--input", "-", "--dtype", "int4"], 2, "expected one of float32, bfloat16, int8"),
        (["--input", "-", "--num-beans", "2"], 2, "no flag --num-beans"),
    ],
)
def test_wrong_use_is_one_line(
    run_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["generate", str(run_folder), *words]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not said.out


def test_candidates_are_ranked(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candidates = ["hello", "你好", "how are you?"]
    name = write_rows(tmp_path / "in.jsonl", {**HELLO, "candidates": candidates}, HELLO)
    assert main(["score", str(run_folder), "--input", name]) == 1
    said = capsys.readouterr()
    [line] = [json.loads(line) for line in said.out.splitlines()]
    found = line["candidates"]
    assert sorted(candidate["text"] for candidate in found) == sorted(candidates)
    assert all(candidates[candidate["index"]] == candidate["text"] for candidate in found)
    assert [c["sum_logprob"] for c in found] == sorted((c["sum_logprob"] for c in found), reverse=True)
    assert "line 2: candidates: expected a list" in said.err


def test_chat_answers_once(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chat", str(run_folder), "-p", "你好", "--system", "be kind", "--max-new-tokens", "6"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert shown == told["text"] + "\n"
    assert told["stats"]["prompt_tokens"] > 0


def test_chat_reads_a_pipe_as_one_conversation(
    run_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe_in(monkeypatch, "hello\n\n你好\r\n")
    assert main(["chat", str(run_folder), "--max-new-tokens", "6", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    engine = Engine.from_pretrained(run_folder / "model")
    expected = engine.generate(Conversation.of("hello", first["text"], "你好"), GenerationConfig(max_new_tokens=6))
    assert second["text"] == expected.texts[0]
    assert second["stats"]["cached_tokens"] >= first["stats"]["prompt_tokens"]


def test_chat_tells_the_likeliest_tokens(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chat", str(run_folder), "-p", "hello", "--max-new-tokens", "4", "--top", "3", "--num-beams", "2"]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for token in told["logprobs"]:
        assert [top["logprob"] for top in token["top_logprobs"]] == sorted(
            (top["logprob"] for top in token["top_logprobs"]), reverse=True
        )
        assert len(token["top_logprobs"]) == 3
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == told["text"] + "\n"
    assert len(said.err.splitlines()) == 1 + len(told["logprobs"])
