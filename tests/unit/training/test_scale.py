"""The plan at scale against torch itself: shapes, shards, bytes sent, operations, memory; and figures by hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from duologue.training.cost import estimate_memory, shared_memory
from duologue.training.failures import outlook_of
from duologue.training.gpus import GPUS
from duologue.training.optim import is_for_muon
from duologue.training.rank_memory import GIB, Model, memory_of_rank, most_rows, sharded_parameters
from duologue.training.scale import Cluster, Job, flops_per_s, plan_at_scale, usual_batch
from duologue.training.scale_verdicts import verdicts
from duologue.training.shapes import count_parameters, parameter_shapes, shape_for, usual_vocabulary
from duologue.training.sharing import rows_of_rank, sharded_rows
from duologue.training.spread import Way
from duologue.training.traffic import muon_flops, muon_needs_rows, traffic_of
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer

PROGRAM = Path(__file__).parent / "sharded_model.py"
SIZES = (1_000_000, 10_000_000, 124_000_000, 350_000_000, 1_000_000_000, 7_000_000_000)
LARGE = Model(shape_for(10**9, vocab_size=32_768, sequence_length=2048), 32_768, 2)
SMALL = Model(
    TransformerConfig(hidden_size=128, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
                      intermediate_size=384, max_position_embeddings=64, tie_word_embeddings=False), 500, 2,
)  # fmt: skip
DEEP = replace(
    SMALL, config=replace(SMALL.config, hidden_size=64, head_dim=32, intermediate_size=192, num_hidden_layers=16),
)  # fmt: skip
H200S = Cluster(GPUS["h200"], 64, 8, network_gbit_s=400, disk_gb_s=1)
# (what is asked, ranks, this rank, the model): ranks that divide everything, that do not, and more than there are rows.
ASKED = {
    "large, first of 64": ("shards", 64, 0, LARGE),
    "large, last of 60": ("shards", 60, 59, LARGE),
    "large, last of 1,024": ("shards", 1024, 1023, LARGE),
    "small, 7th of 100": ("shards", 100, 6, SMALL),
    "traffic of 64": ("traffic", 64, 0, SMALL),
    "traffic of 100": ("traffic", 100, 0, SMALL),
    "traffic of 1,024": ("traffic", 1024, 0, SMALL),
    "muon of 8": ("muon", 8, 0, SMALL),
    "muon of 64": ("muon", 64, 0, SMALL),
    "muon of 65": ("muon", 65, 0, SMALL),
    "peak of 64": ("peak", 64, 0, DEEP),
}


def run_program(*command: str, asked: list[tuple[str, int, int, Model]]) -> list[dict[str, Any]]:
    questions = [(what, ranks, rank, model.vocab_size, asdict(model.config)) for what, ranks, rank, model in asked]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command, str(PROGRAM), json.dumps(questions)], env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def torch_says() -> dict[str, dict[str, Any]]:
    return dict(zip(ASKED, run_program(asked=list(ASKED.values())), strict=True))


@pytest.mark.parametrize("wanted", SIZES)
def test_parameters_are_those_of_the_model(wanted: int) -> None:
    vocab_size = usual_vocabulary(wanted)
    config = shape_for(wanted, vocab_size=vocab_size, sequence_length=2048)
    with torch.device("meta"):
        model = Transformer(config, vocab_size=vocab_size)
    shapes = parameter_shapes(config, vocab_size)
    assert {name: tuple(weight.shape) for name, weight in model.named_parameters()} == shapes
    assert count_parameters(config, vocab_size) == model.num_parameters == pytest.approx(wanted, rel=0.1)
    muons = sum(weight.numel() for name, weight in model.named_parameters() if is_for_muon(name, weight))
    assert muons == config.num_matrix_parameters


@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if asked[0] == "shards"])
def test_shards_are_those_that_torch_makes(name: str, torch_says: dict[str, dict[str, Any]]) -> None:
    _, ranks, rank, model = ASKED[name]
    found = torch_says[name]
    assert found["names_stay"]
    assert found["shapes_stay"]
    matrices, others = sharded_parameters(model, rank, ranks)
    assert (found["matrices"], found["weights"]) == (4 * matrices, 4 * (matrices + others))
    assert found["parameters"] == model.num_parameters


def test_shards_of_all_ranks_are_the_model() -> None:
    for ranks in (1, 7, 60, 64, 1024):
        parts = [sum(sharded_parameters(LARGE, rank, ranks)) for rank in range(ranks)]
        assert sum(parts) == LARGE.num_parameters
        assert parts[0] == max(parts)
        assert sum(sharded_rows(100, rank, ranks) for rank in range(ranks)) == 100


@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if asked[0] == "traffic"])
def test_bytes_are_those_that_torch_sends(name: str, torch_says: dict[str, dict[str, Any]]) -> None:
    _, ranks, _, model = ASKED[name]
    traffic, found = traffic_of(model, "fsdp2", ranks), torch_says[name]
    assert found["gather"] + found["reduce"] == traffic.micro_batch


@pytest.mark.parametrize("name", ["muon of 8", "muon of 64"])
def test_muon_sends_and_multiplies_as_much(name: str, torch_says: dict[str, dict[str, Any]]) -> None:
    _, ranks, _, model = ASKED[name]
    assert torch_says[name]["failed"] == []
    assert torch_says[name]["bytes"] * 3 == traffic_of(model, "fsdp2", ranks).muon
    assert torch_says[name]["flops"] * 3 == muon_flops(model, "fsdp2", ranks)


def test_muon_fails_with_more_ranks_than_rows(torch_says: dict[str, dict[str, Any]]) -> None:
    assert muon_needs_rows(SMALL) == 64
    assert torch_says["muon of 65"]["failed"] == ["self_attn.k_proj.weight", "self_attn.v_proj.weight"]


def test_memory_is_what_torchs_tracker_sees(torch_says: dict[str, dict[str, Any]]) -> None:
    memory = memory_of_rank(DEEP, "fsdp2", rank=0, world_size=64, num_rows=64, keeping="eager")
    found = torch_says["peak of 64"]
    assert (memory.weights, memory.gradients) == (found["SHARDED_PARAM"], found["SHARDED_GRAD"])
    assert 1 <= (memory.total - memory.optimizer) / found["Total"] < 1.1


def test_memory_of_two_real_processes() -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    model = Model(shape_for(5_000_000, vocab_size=8192, sequence_length=64), 8192, 2)
    found = run_program(*torchrun, asked=[("resident", 2, 0, model)])
    assert sorted(one["rank"] for one in found) == [0, 1]
    for one in found:
        memory = memory_of_rank(model, "fsdp2", rank=one["rank"], world_size=2, num_rows=2, keeping="eager")
        held = (one["weights"], one["gradients"], one["optimizer"])
        assert held == (memory.weights, memory.gradients, memory.optimizer)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rank_with_the_whole_model_is_like_one_machine(dtype: Any) -> None:
    model = replace(SMALL, number_bytes=getattr(torch, dtype).itemsize)
    with torch.device("meta"):
        whole = Transformer(model.config, vocab_size=model.vocab_size)
    expected = estimate_memory(whole, dtype=dtype, num_rows=3, sequence_length=64, attention="products")
    for parallelism in ("one", "ddp"):
        memory = memory_of_rank(model, parallelism, rank=0, world_size=2, num_rows=3, keeping="compiled")
        expected = shared_memory(expected, Way.DDP if parallelism == "ddp" else Way.ALONE, 2)
        parts = (memory.weights, memory.gradients, memory.optimizer)
        assert parts == (expected.weights, expected.gradients, expected.optimizer)


@pytest.mark.parametrize("world_size", [*range(1, 65), 1024])
@pytest.mark.parametrize("num_rows", [64, 1000, 1024, 3])
def test_every_row_goes_to_one_rank(num_rows: int, world_size: int) -> None:
    shares = [rows_of_rank(num_rows, rank, world_size) for rank in range(world_size)]
    assert [row for share in shares for row in share] == list(range(num_rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares[-1]) == max(map(len, shares))


def test_failures_by_hand() -> None:
    """Llama 3: 54 x 24 h / 419 = 3.09 h on 16,384 GPUs, 256 times as long on 64: 33.0 days."""
    outlook = outlook_of(world_size=64, training_days=66, checkpoint_bytes=8 * 10**9, disk_gb_s=1)
    assert outlook.failure_days == pytest.approx(33.0, abs=0.01)
    assert outlook.checkpoint_s == 8
    assert outlook.interval_s == pytest.approx(math.sqrt(2 * 8 * 33.0 * 86_400), rel=1e-3)  # 6,754 s
    assert outlook.saving_share == pytest.approx(8 / 6_762, rel=1e-3)
    assert outlook.failing_share == pytest.approx((6_754 / 2 + 600) / (33.0 * 86_400), rel=1e-3)
    assert outlook.expected_failures == pytest.approx(2.0, rel=0.01)
    llama3 = outlook_of(world_size=16_384, training_days=54, checkpoint_bytes=5 * 10**12, disk_gb_s=1000)
    assert llama3.effective_share > 0.85  # they report more than 90 %


def test_the_interval_is_the_best_one() -> None:
    outlook = outlook_of(world_size=1000, training_days=1, checkpoint_bytes=10**11, disk_gb_s=2)

    def lost(interval_s: float) -> float:
        return outlook.checkpoint_s / interval_s + interval_s / 2 / (outlook.failure_days * 86_400)

    assert lost(outlook.interval_s) < min(lost(outlook.interval_s * 0.9), lost(outlook.interval_s * 1.1))


def test_parity_by_hand() -> None:
    """8 N bytes at 50 GB/s against 6 N operations a token at 396 TFLOP/s: 10,549 tokens, without attention in it."""
    plan = plan_at_scale(H200S, Job(LARGE, 20 * 10**9, 2**21, is_compiled=True))
    assert flops_per_s(GPUS["h200"]) == 0.4 * 989e12
    assert H200S.bytes_per_s == 50e9
    assert plan.parity_tokens == pytest.approx(8 / 6 / 50e9 * 395.6e12, rel=0.1)
    assert plan_at_scale(replace(H200S, gpus=8), plan.job).cluster.bytes_per_s == 450e9
    assert plan.traffic.micro_batch / LARGE.num_parameters == pytest.approx(8, rel=0.05)


def test_time_by_hand() -> None:
    """6 N operations a token, some attention on top, 32,768 tokens a rank: half a second."""
    job = Job(LARGE, 20 * 10**9, 2**21, is_compiled=True)
    plan = plan_at_scale(H200S, job)
    assert plan.step.compute_s == pytest.approx(6 * 1.016e9 * 32_768 / 395.6e12, rel=0.1)
    one = plan_at_scale(replace(H200S, gpus=1), job)
    assert one.step.exposed_s == one.step.muon_exposed_s == 0
    assert one.step.compute_s == pytest.approx(64 * plan.step.compute_s)
    assert plan.tokens_per_s == pytest.approx(2**21 / plan.step.total_s)
    assert plan.days > plan.training_days > 0
    assert plan.micro_batches * plan.micro_batch_rows == plan.rows_per_rank == 16
    assert usual_batch(20 * 10**9) == 2**21


def test_a_slow_network_is_waited_for() -> None:
    job = Job(LARGE, 20 * 10**9, 2**21, is_compiled=True)
    fast, slow = (plan_at_scale(replace(H200S, network_gbit_s=rate), job) for rate in (3200, 10))
    assert fast.step.exposed_s < 0.05 * fast.step.compute_s
    assert slow.step.exposed_s > slow.step.compute_s
    assert any("hides behind compute" in verdict for verdict in verdicts(fast))
    assert any("the ranks wait" in verdict for verdict in verdicts(slow))


def test_what_does_not_fit_says_what_would() -> None:
    large = Model(shape_for(7 * 10**9, vocab_size=32_768, sequence_length=1024), 32_768, 2)
    plan = plan_at_scale(replace(H200S, gpu=GPUS["h100"], gpus=1), Job(large, 10**9, 2**19, is_compiled=False))
    first = next(verdicts(plan))
    assert first.startswith("does not fit: needs ")
    assert first.endswith(f"of 79; with {plan.fitting_ranks} ranks it would")
    assert plan_at_scale(replace(H200S, gpu=GPUS["h100"], gpus=plan.fitting_ranks), plan.job).most_rows > 0
    assert most_rows(LARGE, "fsdp2", world_size=64, keeping="compiled", usable_bytes=80 * GIB) > 0
    assert most_rows(LARGE, "fsdp2", world_size=64, keeping="compiled", usable_bytes=GIB) == 0


def test_too_few_rows_and_too_many_ranks_are_said() -> None:
    plan = plan_at_scale(replace(H200S, gpus=2048), Job(LARGE, 10**9, 2**21, is_compiled=True))
    said = "\n".join(verdicts(plan))
    assert "1,024 rows for 2,048 ranks" in said
    assert "fewer rows than ranks" in said
