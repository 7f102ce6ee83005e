"""A stage with an adversary: it resumes to the same bits, learns what hurts, keeps its budget, does what it says."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.adversarial.config import AdversarialConfig
from duologue.adversarial.families import TEXT_FAMILIES
from duologue.adversarial.policy import Policy
from duologue.conversation import Conversation
from duologue.data.loader import Batch, Loader
from duologue.data.packing import plan_packing
from duologue.data.shards import Shards, write_shards
from duologue.errors import ConfigError
from duologue.runtime import Machine
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.training.adversary import Adversary, AdversaryState
from duologue.training.config import StageConfig
from duologue.training.harder_rows import HarderRows
from duologue.training.loop import Trainer
from duologue.training.metrics import StepMetrics, read_metrics
from duologue.training.objective import tensors_of
from duologue.training.stage import Hooks, Stage
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

CONFIG = StageConfig(
    steps=12, sequence_length=192, batch_tokens=768, warmup_steps=2, dtype="float32", compile="off", evaluate_every=4,
    learning_rate=0.005, embedding_learning_rate=0.002,
)  # fmt: skip
MACHINE = Machine("test", 1, 1.0, "cpu", {"float32": 10.0, "bfloat16": 20.0})
EVERYTHING = AdversarialConfig(row_share=0.8, dialogue_share=0.3, worst_of=2, consistency=0.5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, dialogues: list[Conversation]) -> Shards:
    return write_shards(dialogues, tokenizer, tmp_path_factory.mktemp("data") / "shards", fingerprint="x")


@pytest.fixture
def build(
    tmp_path: Path, shards: Shards, tokenizer: Tokenizer, tiny_config: TransformerConfig,
    dialogues: list[Conversation], monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """Makes a trainer with an adversary on a folder; called again with the same folder it goes on."""
    monkeypatch.setattr("duologue.training.adversary.PROBE_EVERY", 3)

    def make(
        name: str = "run", adversarial: AdversarialConfig = EVERYTHING, hooks: Hooks | None = None, **changes: object
    ) -> Trainer:
        config = dataclasses.replace(CONFIG, **changes)
        plan = plan_packing(shards, sequence_length=192, turn_id=tokenizer.start_of_turn_id, only_learned=True, seed=0,
                            reserve=24)  # fmt: skip
        loader = Loader(shards, plan, 0, True, tokenizer.end_of_text_id)
        few = dataclasses.replace(plan, row_offsets=plan.row_offsets[:5])
        harder = HarderRows(Policy.of(adversarial, dialogues), tokenizer)
        stage = Stage("finetuning", config, loader, dataclasses.replace(loader, plan=few), tmp_path / name, MACHINE,
                      time.monotonic(), {}, harder=harder)  # fmt: skip
        torch.manual_seed(0)
        tiny = dataclasses.replace(tiny_config, max_position_embeddings=192)
        return Trainer(stage, Transformer(tiny, vocab_size=tokenizer.vocab_size), hooks or Hooks())

    return make


class StopError(Exception):
    """Ends a run as a kill would."""


@pytest.mark.parametrize("stop_at", [5, 9])
@pytest.mark.parametrize("embedding", ["off", "neftune", "freelb"])
def test_a_stopped_run_goes_on_to_the_same_bits(build, embedding: str, stop_at: int) -> None:
    config = dataclasses.replace(
        EVERYTHING, embedding=embedding, embedding_strength=1.0, embedding_steps=2, repair_share=0.5, repair_questions=8
    )
    whole = {name: tensor.clone() for name, tensor in build("whole", config).run().state_dict().items()}

    def stop(metrics: StepMetrics, seconds_left: float | None) -> None:
        if metrics.step == stop_at:
            raise StopError

    with pytest.raises(StopError):
        build("cut", config, Hooks(on_step=stop), save_every_s=0).run()
    resumed = build("cut", config)
    assert resumed.state.step == stop_at
    for name, tensor in resumed.run().state_dict().items():
        assert torch.equal(tensor, whole[name]), name


@pytest.mark.parametrize("embedding", ["off", "neftune", "fgm"])
def test_micro_batches_give_the_same_gradient(build, embedding: str) -> None:
    config = dataclasses.replace(EVERYTHING, embedding=embedding, worst_of=1)
    gradients = []
    for name, tokens in (("whole", 0), ("parts", 192)):
        trainer = build(name, config, micro_batch_tokens=tokens, max_gradient_norm=1e9)
        trainer.gradient.work_out(5)
        gradients.append({key: weight.grad.clone() for key, weight in trainer.masters.named.items()})
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradients[1][name], gradient, atol=2e-5), name


def test_off_is_the_plain_run(build) -> None:
    """With noise in no row and nothing else on, an adversary changes no bit of what is learned."""
    nothing = AdversarialConfig(row_share=0.0, consistency=0.0, adapts=False, saliency_share=0.0)
    guarded, plain = build("guarded", nothing), build("plain", nothing)
    plain.adversary = plain.gradient._adversary = None
    for (name, one), other in zip(guarded.run().state_dict().items(), plain.run().state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_families_that_hurt_come_more_often(build) -> None:
    trainer = build(steps=10, warmup_steps=2)
    trainer.run()
    weights = trainer.adversary.state.weights()
    assert len(weights) >= 3
    assert set(weights) <= set(TEXT_FAMILIES)
    assert trainer.adversary.harder.policy.weights == weights
    state = AdversaryState(costs={"en-swap": [30.0, 100.0], "en-drop": [10.0, 100.0], "en-case": [-5.0, 100.0]})
    found = state.weights()
    assert found["en-case"] == pytest.approx(0.25)
    assert found["en-swap"] - 0.25 == pytest.approx(3 * (found["en-drop"] - 0.25))


def test_what_a_family_costs_is_its_rows_difference(build) -> None:
    """A made-up loss of one nat for each token that is not learned: a family costs the tokens that it adds."""
    trainer = build()
    adversary: Adversary = trainer.adversary

    seen: list[Batch] = []

    def loss(batch: Batch) -> np.ndarray:
        seen.append(batch)
        return ((batch.document_ids > 0) & (batch.labels < 0)).astype(float)

    assert adversary.learn(3, range(4), num_rows=4, loss=loss)
    noisy, clean = seen
    added = int((noisy.document_ids > 0).sum() - (clean.document_ids > 0).sum())
    costs = adversary.state.costs
    assert len(costs) >= 3
    assert sum(nats for nats, _ in costs.values()) == pytest.approx(added)
    assert 0 < sum(labels for _, labels in costs.values()) <= clean.num_labels


def test_loss_by_place_is_the_loss(build) -> None:
    trainer = build()
    batch = trainer.stage.train.samples(range(4), num_rows=4)
    by_place = trainer.gradient.loss_by_place(batch)
    tensors = tensors_of(batch, "cpu")
    whole = trainer.compiler.call(lambda forward: trainer.spread.loss_only(forward, *tensors, learns=False))
    assert by_place.sum() == pytest.approx(whole.item(), rel=1e-5)
    assert (by_place[batch.labels < 0] == 0).all()


def test_the_worst_form_of_each_row_is_learned(build) -> None:
    trainer = build("run", dataclasses.replace(EVERYTHING, worst_of=3))
    adversary: Adversary = trainer.adversary
    asked: list[Batch] = []

    def loss(batch: Batch) -> np.ndarray:
        asked.append(batch)
        return batch.input_ids.astype(float)

    batch = adversary.batch(9, range(4), num_rows=4, is_settling=False, loss=loss)
    assert len(asked) == 3
    worst = np.max([one.input_ids.sum(axis=1) for one in asked], axis=0)
    assert (batch.input_ids.sum(axis=1) == worst).all()
    adversary.batch(10, range(4), num_rows=4, is_settling=False, loss=loss)
    adversary.batch(9, range(4), num_rows=4, is_settling=True, loss=loss)
    assert len(asked) == 3  # in one step of nine, and not at the end


def test_consistency_pulls_noisy_replies_to_clean_ones(build, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the same steps, replies to noisy and to clean questions are nearer to each other than without."""
    monkeypatch.setattr("duologue.training.adversary.CONSISTENCY_EVERY", 1)

    def apart(weight: float) -> float:
        config = AdversarialConfig(row_share=1.0, consistency=weight, adapts=False, saliency_share=0.0)
        trainer = build(f"run-{weight}", config, steps=80, learning_rate=0.02, embedding_learning_rate=0.01)
        model = trainer.run()
        adversary = trainer.adversary
        noisy = adversary.batch(300, range(8), num_rows=8, is_settling=False, loss=trainer.gradient.loss_by_place)
        clean = adversary.loader.samples(range(8), num_rows=8)
        with torch.no_grad():
            logits = [
                model.logits(trainer.compiler._plain(model, *tensors_of(batch, "cpu")[:3]))[
                    torch.from_numpy(batch.labels) >= 0
                ].log_softmax(-1)
                for batch in (noisy, clean)
            ]
        return float((logits[1].exp() * (logits[1] - logits[0])).sum(-1).mean())

    assert apart(2.0) < 0.9 * apart(0.0)


def test_repairs_are_mined_when_the_rate_falls_and_then_learned(build) -> None:
    notes: list[str] = []
    config = AdversarialConfig(row_share=0.5, consistency=0.0, repair_share=0.25, repair_questions=12)
    trainer = build("run", config, Hooks(on_note=notes.append), steps=12, cooldown=0.5)
    trainer.run()
    adversary: Adversary = trainer.adversary
    assert adversary.state.mined_at == 6
    assert sum("asked for its errors" in note for note in notes) == 1
    asked = {"is_settling": True, "loss": trainer.gradient.loss_by_place}
    batch = adversary.batch(8, range(32, 40), num_rows=8, **asked)
    repairs = adversary._repairs.samples(range(8, 10), num_rows=2)
    assert (batch.input_ids[[0, 4]] == repairs.input_ids).all()  # one row in four
    assert (batch.labels[[0, 4]] == repairs.labels).all()
    others = adversary.loader.samples(range(32, 40), num_rows=8)
    assert all((batch.labels[row] >= 0).sum() == (others.labels[row] >= 0).sum() for row in (1, 2, 3, 5, 6, 7))
    parts = [adversary.batch(8, range(at, at + 2), num_rows=2, **asked).input_ids for at in range(32, 40, 2)]
    assert (np.concatenate(parts) == batch.input_ids).all()
    said = trainer.stage.harder.tokenizer.decode(repairs.input_ids.flatten().tolist())
    words = ("wrong", "not right", "不对", "错了", "Sorry", "抱歉", "sure", "确定", "believe", "不信", "嗯")
    assert any(word in said for word in words)


def test_the_clean_budget_is_kept(build, tmp_path: Path) -> None:
    reference = tmp_path / "metrics.jsonl"
    reference.write_text("".join(json.dumps({"step": step, "validation_loss": 0.1}) + "\n" for step in range(12)))
    config = dataclasses.replace(EVERYTHING, clean_reference=str(reference))
    notes: list[str] = []
    trainer = build("run", config, Hooks(on_note=notes.append))
    trainer.run()
    assert trainer.adversary.state.share == pytest.approx(0.7**3)
    assert any("against the reference" in note for note in notes)
    events = [line["event"] for line in read_metrics(trainer.stage.folder / "metrics.jsonl") if line["event"]]
    assert events
    state = trainer.adversary
    for _ in range(20):
        state.heed(3, 0.1)
    assert state.state.share == 1.0


def test_a_bad_reference_is_told(build, tmp_path: Path) -> None:
    for text in (None, "no json", '{"step": 1, "validation_loss": null}'):
        path = tmp_path / "reference.jsonl"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text)
        with pytest.raises(ConfigError, match="clean_reference"):
            build("run", dataclasses.replace(EVERYTHING, clean_reference=str(path)))
