"""The training loop: it learns, it resumes to the same bits, it stops when told, it refuses what does not fit."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from duologue.conversation import Conversation
from duologue.data.loader import Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import Shards, write_shards
from duologue.errors import NumericalError, RunFolderError
from duologue.runtime import Machine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.checkpoint import load_newest_checkpoint
from duologue.training.config import StageConfig
from duologue.training.loop import Trainer
from duologue.training.metrics import StepMetrics, plot_loss, read_metrics
from duologue.training.stage import Hooks, Stage
from duologue.transformer.config import TransformerConfig
from duologue.transformer.lora import add_lora, is_factor
from duologue.transformer.lora_config import LoRAConfig
from duologue.transformer.model import Transformer

CONFIG = StageConfig(
    steps=12, sequence_length=64, batch_tokens=512, warmup_steps=2, dtype="float32", compile="off", evaluate_every=4
)
MACHINE = Machine("test", 1, 1.0, "cpu", {"float32": 10.0, "bfloat16": 20.0})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, dialogues: list[Conversation]) -> Shards:
    return write_shards(dialogues[:200], tokenizer, tmp_path_factory.mktemp("data") / "shards", fingerprint="x")


@pytest.fixture
def build(tmp_path: Path, shards: Shards, tokenizer: Tokenizer, tiny_config: TransformerConfig):
    """Makes a trainer on a folder; called again with the same folder it goes on."""

    def make(name: str = "run", hooks: Hooks | None = None, rank: int = 0, **changes: object) -> Trainer:
        config = dataclasses.replace(CONFIG, **changes)
        turn_id = tokenizer.start_of_turn_id
        plan = plan_packing(shards, sequence_length=64, turn_id=turn_id, only_learned=False, seed=0)
        loader = Loader(shards, plan, 0, False, tokenizer.end_of_text_id)
        few = dataclasses.replace(plan, row_offsets=plan.row_offsets[:5])
        identity = {"learning_rate": config.learning_rate}
        stage = Stage("pretraining", config, loader, dataclasses.replace(loader, plan=few), tmp_path / name, MACHINE,
                      time.monotonic(), identity)  # fmt: skip
        torch.manual_seed(0)
        model = Transformer(tiny_config, vocab_size=tokenizer.vocab_size)
        return Trainer(stage, add_lora(model, LoRAConfig(rank=rank), seed=0), hooks or Hooks())

    return make


def weights(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_loss_falls_and_is_written_down(build, tmp_path: Path) -> None:
    build(steps=40).run()
    lines = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(40))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    looks = [line["validation_loss"] for line in lines if line["validation_loss"] is not None]
    assert looks[-1] < 0.8 * looks[0]
    assert lines[-1]["num_tokens"] == 40 * 512
    plot_loss(tmp_path / "run" / "metrics.jsonl", tmp_path / "loss.png", title="test")
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"


class StopError(Exception):
    """Ends a run as a kill would."""


@pytest.mark.parametrize(("rank", "share"), [(0, 1.0), (4, 1.0), (0, 0.2)], ids=["full", "lora", "sampled"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stopped_run_goes_on_to_the_same_bits(build, dtype: str, rank: int, share: float) -> None:
    settings = {"rank": rank, "dtype": dtype, "vocabulary_share": share}
    whole = weights(build("whole", **settings).run())

    def stop_at_7(metrics: StepMetrics, seconds_left: float | None) -> None:
        if metrics.step == 7:
            raise StopError

    with pytest.raises(StopError):
        build("cut", Hooks(on_step=stop_at_7), **settings, save_every_s=0).run()
    notes: list[str] = []
    resumed = build("cut", Hooks(on_note=notes.append), **settings)
    assert notes == ["going on from step 7"]
    for name, tensor in weights(resumed.run()).items():
        assert torch.equal(tensor, whole[name]), name
    assert [line["step"] for line in read_metrics(resumed.stage.folder / "metrics.jsonl")] == list(range(12))


def test_a_signal_saves_and_stops(build) -> None:
    def interrupt(metrics: StepMetrics, seconds_left: float | None) -> None:
        if metrics.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build(hooks=Hooks(on_step=interrupt)).run()
    assert build().state.step == 4


def test_micro_batches_give_the_same_gradient(build) -> None:
    gradients = []
    for name, micro_batch_tokens in (("whole", 0), ("parts", 128)):
        trainer = build(name, micro_batch_tokens=micro_batch_tokens, max_gradient_norm=1e9)
        trainer.gradient.work_out(0)
        gradients.append({key: weight.grad for key, weight in trainer.masters.named.items() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_number_never_reaches_the_weights(build) -> None:
    trainer = build()
    with torch.no_grad():
        trainer.model.model.norm.weight[0] = float("nan")
    before = {name: weight.detach().clone() for name, weight in trainer.masters.named.items()}
    with pytest.raises(
        NumericalError, match=r"pretraining step 2: loss is nan.*3 steps in a row.*lower pretraining\.learning_rate"
    ):
        trainer.run()
    for name, weight in trainer.masters.named.items():
        assert torch.equal(weight.nan_to_num(), before[name].nan_to_num()), name


def test_another_plan_is_not_continued(build) -> None:
    trainer = build()
    trainer._step()
    trainer.save()
    with pytest.raises(RunFolderError, match=r"another learning_rate \(0\.01, now 0\.02\); give another --out"):
        build(learning_rate=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lora_trains_its_factors_and_nothing_else(build, dtype: str) -> None:
    trainer = build(rank=4, dtype=dtype)
    before = weights(trainer.model)
    after = weights(trainer.run())
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor.float()) != is_factor(name), name
    assert all(is_factor(name) for name in trainer.masters.named)
    assert {path.rpartition("/")[0] for path in trainer.optimizers.state_tensors()} == set(trainer.masters.named)
    kept, _ = load_newest_checkpoint(trainer.stage.folder / "checkpoints")
    assert kept.model.keys() == trainer.masters.named.keys()


def test_what_is_frozen_takes_no_gradient(build) -> None:
    trainer = build(rank=4)
    trainer.gradient.work_out(0)
    assert {name for name, weight in trainer.model.named_parameters() if weight.grad is not None} == {
        name for name, weight in trainer.model.named_parameters() if is_factor(name)
    }


def test_lora_goes_on_learning_from_a_trained_model(build, tmp_path: Path) -> None:
    trained = weights(build("trained", steps=30).run())
    trainer = build(rank=8, steps=60, learning_rate=0.05)
    trainer.model.load_state_dict(trainer.model.state_dict() | trained)
    trainer.run()
    looks = [line["validation_loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    looks = [loss for loss in looks if loss is not None]
    assert looks[-1] < 0.95 * looks[0]


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_it_stops_when_it_no_longer_helps_and_keeps_the_best(build, rank: int) -> None:
    wild = {"learning_rate": 0.3, "embedding_learning_rate": 0.3, "cooldown": 0.0}
    trainer = build(rank=rank, steps=400, patience=2, evaluate_every=2, **wild)
    model = trainer.run()
    assert trainer.state.step < 400
    lines = list(read_metrics(trainer.stage.folder / "metrics.jsonl"))
    best = min(line["validation_loss"] for line in lines if line["validation_loss"] is not None)
    assert model is trainer.model
    assert trainer.looks.validation_loss() == pytest.approx(best, rel=1e-5)


def test_minutes_are_kept(build) -> None:
    start = time.monotonic()
    build(steps=0, minutes=0.1, evaluate_every=0).run()
    assert 4 < time.monotonic() - start < 8


def test_tokens_per_second_and_share_of_peak(build) -> None:
    seen: list[StepMetrics] = []
    trainer = build(hooks=Hooks(on_step=lambda metrics, left: seen.append(metrics)))
    trainer.run()
    flops = trainer.model.config.flops_per_token(vocab_size=trainer.model.vocab_size, sequence_length=64)
    for metrics in seen:
        assert metrics.share_of_peak == pytest.approx(metrics.tokens_per_s * flops / 10e9)
