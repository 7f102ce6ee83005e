"""What a run would need, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duologue.pipeline.stages import Pipeline, StageName
from duologue.transformer.model import Transformer

TYPICAL_SHARE_OF_PEAK = 0.45  # of the measured matrix product, that a small model's training step reaches
BYTES_PER_PARAMETER = 4 + 2 + 8 + 4  # master, compute copy, optimiser state, gradient
ACTIVATION_BYTES = 34  # per token, layer and unit of width, kept for the backward pass; attention's squares apart


def show_plan(pipeline: Pipeline, stages: Sequence[StageName]) -> dict[str, object]:
    """Prints and gives the plan of some stages; data are counted and tokenised, nothing is trained."""
    machine = pipeline.machine
    rates = ", ".join(f"{rate:,.0f} GFLOP/s {name}" for name, rate in machine.gflops.items())
    where = f"{machine.processor}, {machine.num_cores} cores, {machine.memory_gib:.0f} GiB, {rates}"
    pipeline.display.title(f"plan of {pipeline.named.name}")
    pipeline.display.note(where)
    plans: dict[str, object] = {"machine": where, "run": str(pipeline.run.path)}
    for stage in stages:
        plan = stage_plan(pipeline, stage)
        pipeline.display.note(f"{stage}: " + ", ".join(f"{name} {_short(value)}" for name, value in plan.items()))
        plans[stage] = plan
    return plans


def stage_plan(pipeline: Pipeline, stage: StageName) -> dict[str, Any]:
    """Size, data, steps, minutes and memory of one stage; times are estimates from the measured machine."""
    config, packing, shards = pipeline.plan(stage)
    model = pipeline.shape()
    flops = model.config.flops_per_token(vocab_size=model.vocab_size, sequence_length=packing.sequence_length)
    machine = pipeline.machine
    tokens_per_s = TYPICAL_SHARE_OF_PEAK * machine.gflops[machine.best_dtype] * 1e9 / flops
    step_tokens = max(config.batch_tokens, packing.sequence_length)
    epoch_steps = packing.num_rows * packing.sequence_length / step_tokens
    timed_steps = config.minutes * 60 * tokens_per_s / step_tokens
    steps = config.steps or timed_steps or config.epochs * epoch_steps
    memory = _memory_bytes(model, config.micro_batch_tokens or step_tokens, packing.sequence_length)
    return {
        "parameters": model.num_parameters,
        "tokens": shards.manifest.num_tokens,
        "steps": max(1, round(steps)),
        "epochs": round(steps / epoch_steps, 2),
        "tokens_per_s": round(tokens_per_s),
        "minutes": round(config.minutes or steps * step_tokens / tokens_per_s / 60, 1),
        "memory_gib": round(memory / 2**30, 2),
    }


def _memory_bytes(model: Transformer, tokens: int, sequence_length: int) -> float:
    config = model.config
    squares = 2 * 4 * config.num_hidden_layers * config.num_attention_heads * sequence_length
    activations = tokens * (config.num_hidden_layers * config.hidden_size * ACTIVATION_BYTES + squares)
    return model.num_parameters * BYTES_PER_PARAMETER + activations


def _short(value: Any) -> str:
    return f"{value:,}"
