"""The verbs that train, called as a user calls them: what they leave, and what they say of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from duologue.cli.main import main
from duologue.conversation import Conversation
from duologue.transformer.weights import load_transformer

FAST = ["--pretraining.steps", "4", "--finetuning.steps", "4", "--data.builtin_dialogues", "300"]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_dialogues(path: Path, rows: list[Conversation]) -> Path:
    path.write_text("".join(row.to_json() + "\n" for row in rows), encoding="utf-8")
    return path


def fails(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> str:
    """Runs a command that must fail; gives its one line."""
    capsys.readouterr()
    assert main(list(words)) == code
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.strip().splitlines()[-1]
    assert "Traceback" not in said.err
    assert last.startswith(f"duologue {words[0]}: "), said.err
    return last


def test_stage_after_stage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["tokenizer", "train", "tiny", *FAST, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vocab_size"] == 1024
    assert main(["pretrain", "tiny", *FAST, "--json"]) == 0
    pretrained = Path(json.loads(capsys.readouterr().out)["model"])
    assert pretrained == Path("runs/tiny/pretraining/model")
    assert main(["finetune", "tiny", *FAST]) == 0
    run = tmp_path / "runs" / "tiny"
    for name in ("recipe.toml", "resolved.json", "env.json", "tokenizer/tokenizer.json", "pretraining/metrics.jsonl",
                 "finetuning/loss.png", "finetuning/model/README.md", "model/generation_config.json"):  # fmt: skip
        assert (run / name).is_file(), name
    assert load_transformer(run / "model").vocab_size == 1024
    written = load_transformer(run / "model").state_dict()
    assert any((written[name] != tensor).any() for name, tensor in load_transformer(pretrained).state_dict().items())


def test_the_recipe_that_a_run_keeps_makes_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "tiny", *FAST]) == 0
    assert main(["pretrain", "runs/tiny/recipe.toml", "--out", "again"]) == 0
    first, again = (Path(run, "pretraining/model/model.safetensors").read_bytes() for run in ("runs/tiny", "again"))
    assert first == again


def test_up_on_own_dialogues(capsys: pytest.CaptureFixture[str], tmp_path: Path, dialogues: list[Conversation]) -> None:
    data = write_dialogues(tmp_path / "mine.jsonl", dialogues[:120])
    assert main(["up", "tiny", "--data", str(data), *FAST, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["bits_per_byte"]) == {"start", "pretraining", "finetuning"}
    assert report["bits_per_byte"]["finetuning"] < report["bits_per_byte"]["start"]
    assert main(["up", "tiny", "--data", str(data), *FAST]) == 0
    assert "done already" in capsys.readouterr().err


def test_starting_from_a_model(tmp_path: Path, dialogues: list[Conversation]) -> None:
    assert main(["pretrain", "tiny", *FAST]) == 0
    data = write_dialogues(tmp_path / "mine.jsonl", dialogues[:60])
    assert main(["finetune", "tiny", "--init", "runs/tiny", "--data", str(data), "--steps", "3", "--out", "tuned"]) == 0
    assert load_transformer("tuned/model").config == load_transformer("runs/tiny/model").config


def test_fine_tuning_with_lora(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dialogues: list[Conversation]
) -> None:
    assert main(["pretrain", "tiny", *FAST]) == 0
    data = write_dialogues(tmp_path / "mine.jsonl", dialogues[:60])
    words = ["finetune", "tiny", "--init", "runs/tiny", "--data", str(data), "--lora.rank", "4", "--out", "tuned"]
    capsys.readouterr()
    assert main([*words, "--steps", "3", "--lora.learning_rate", "0.1"]) == 0
    said = capsys.readouterr().err
    assert "finetuning: needs about 0." in said
    base, tuned = load_transformer("runs/tiny/model"), load_transformer("tuned/finetuning/model")
    adapter = load_file("tuned/finetuning/adapter/adapter_model.safetensors")
    assert len(adapter) == 2 * 7 * base.config.num_hidden_layers
    for name, weight in base.state_dict().items():
        factors = [adapter.get(f"base_model.model.{name.removesuffix('weight')}lora_{x}.weight") for x in "BA"]
        expected = weight if factors[0] is None else weight + 32 / 4 * factors[0] @ factors[1]
        torch.testing.assert_close(tuned.state_dict()[name], expected, atol=1e-6, rtol=1e-6)
    assert "| LoRA | rank 4, alpha 32, on q_proj" in Path("tuned/finetuning/model/README.md").read_text()
    assert main([*words, "--steps", "3", "--lora.learning_rate", "0.1"]) == 0
    assert "finetuning: done already" in capsys.readouterr().err
    assert "a finished stage with another lora" in fails(
        capsys, *words, "--steps", "3", "--lora.learning_rate", "0.1", "--lora.alpha", "8"
    )


def test_lora_in_bfloat16_is_added_to_the_weights_of_the_folder() -> None:
    assert main(["pretrain", "tiny", *FAST]) == 0
    lora = ["--lora.rank", "2", "--lora.targets", "v_proj"]
    assert main(["finetune", "tiny", *FAST, *lora, "--finetuning.dtype", "bfloat16"]) == 0
    folders = ("runs/tiny/pretraining/model", "runs/tiny/finetuning/model")
    before, after = (load_transformer(folder).state_dict() for folder in folders)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"model.layers.{layer}.self_attn.v_proj.weight" for layer in range(2)}


def test_a_stage_that_does_not_fit_into_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, "pretrain", "tiny", *FAST, "--pretraining.batch_tokens", "10000000000", code=2)
    assert "pretraining: needs about " in said
    assert "what would fit: --pretraining.micro_batch_tokens " in said
    assert not Path("runs/tiny/pretraining").exists()


def test_a_plan_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "tiny", *FAST, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["pretraining"]["steps"] == 4
    assert plan["pretraining"]["parameters"] > 100_000
    parts = ("weights_gib", "gradients_gib", "optimizer_gib", "activations_gib")
    assert plan["finetuning"]["memory_gib"] == pytest.approx(sum(plan["finetuning"][part] for part in parts), abs=0.03)
    assert not Path("runs/tiny/pretraining").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "tinny"], "pretrain: tinny: no recipe of that name; did you mean tiny?"),
        (["pretrain", "mine.toml"], "pretrain: mine.toml: no such recipe file"),
        (["pretrain", "tiny", "--pretraining.stepz", "3"], "--pretraining.stepz; did you mean --pretraining.st"),
        (["pretrain", "tiny", "--steps", "x"], "steps: is 'x'; expected a whole number"),
        (["pretrain", "tiny", "--minutes", "-1"], "minutes: is -1.0; expected at least 0"),
        (["pretrain", "tiny", "--sequence"], "no flag --sequence"),
        (["quickstart", "--minutes", "0"], "--minutes: is 0.0; expected at least 0.1"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert message in fails(capsys, *words, code=2)


def test_an_unknown_recipe_key_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[transformer]\nnum_layers = 3\n")
    said = fails(capsys, "pretrain", "mine.toml", code=2)
    assert "mine.toml [transformer] num_layers: unknown key; did you mean" in said


def test_missing_and_empty_data_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "none.jsonl: no such file" in fails(capsys, "up", "tiny", "--data", "none.jsonl", *FAST)
    (tmp_path / "empty.jsonl").write_text("")
    assert "empty.jsonl: no rows" in fails(capsys, "up", "tiny", "--data", "empty.jsonl", *FAST)
    assert "no dialogues to learn from" in fails(capsys, "pretrain", "tiny", "--data.builtin_dialogues", "0")


def test_a_corpus_without_assistant_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = write_dialogues(tmp_path / "users.jsonl", [Conversation.of(f"hello {i}") for i in range(40)])
    said = fails(capsys, "up", "tiny", "--data", str(data), *FAST)
    assert "nothing to learn from: no dialogue has an assistant turn" in said


def test_a_context_shorter_than_every_message_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [Conversation.of(f"{i} long " * 40, f"very long {i} " * 40) for i in range(40)]
    data = write_dialogues(tmp_path / "long.jsonl", rows)
    said = fails(capsys, "up", "tiny", "--data", str(data), *FAST, "--transformer.max_position_embeddings", "32",
                 "--finetuning.sequence_length", "32", "--pretraining.sequence_length", "32")  # fmt: skip
    assert "every reply, with its question, is longer than the context of 32 tokens" in said


def test_a_row_longer_than_the_context_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said = fails(capsys, "pretrain", "tiny", "--pretraining.sequence_length", "4096", code=2)
    assert "pretraining.sequence_length: is 4096; the model's context is 256" in said


def test_fine_tuning_without_a_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no pretrained model to fine-tune" in fails(capsys, "finetune", "tiny", *FAST)


def test_another_recipe_in_the_same_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pretrain", "tiny", *FAST]) == 0
    said = fails(capsys, "pretrain", "tiny", *FAST, "--pretraining.learning_rate", "0.5")
    assert "holds a finished stage with another learning_rate (0.01, now 0.5); give another --out" in said


def test_a_folder_that_cannot_be_made_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file/run: cannot be made" in fails(capsys, "pretrain", "tiny", *FAST, "--out", "file/run")


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("duologue.transformer.weights.save_file", full)
    said = fails(capsys, "pretrain", "tiny", *FAST)
    assert "model: cannot be written: No space left on device; free space and start again" in said
    monkeypatch.undo()
