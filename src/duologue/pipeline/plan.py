"""What a run would need, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from duologue.pipeline.memory import describe_memory
from duologue.pipeline.stages import Pipeline, StageName, StagePlan
from duologue.training.cost import GIB, MemoryEstimate, flops_per_token

TYPICAL_SHARE_OF_PEAK = 0.45  # of the measured matrix product, that a small model's training step reaches


def show_plan(pipeline: Pipeline, stages: Sequence[StageName]) -> dict[str, object]:
    """Prints and gives the plan of some stages; data are counted and tokenised, nothing is trained."""
    machine = pipeline.machine
    rates = ", ".join(f"{rate:,.0f} GFLOP/s {name}" for name, rate in machine.gflops.items())
    where = f"{machine.processor}, {machine.num_cores} cores, {machine.memory_gib:.0f} GiB, {rates}"
    pipeline.display.title(f"plan of {pipeline.named.name}")
    pipeline.display.note(where)
    plans: dict[str, object] = {"machine": where, "run": str(pipeline.run.path)}
    if "pretraining" in stages:
        pipeline.choose()
    for stage in stages:
        with pipeline.world.first_goes_first():
            plan = pipeline.plan(stage)
        figures = stage_figures(pipeline, stage, plan)
        pipeline.display.note(f"{stage}: " + ", ".join(f"{name} {value:,}" for name, value in figures.items()))
        pipeline.display.note(f"{stage}: {describe_memory(plan.memory, machine)}")
        plans[stage] = figures | memory_figures(plan.memory)
    return plans


def stage_figures(pipeline: Pipeline, stage: StageName, plan: StagePlan) -> dict[str, Any]:
    """Size, data, steps and minutes of one stage; times are estimates from the measured machine."""
    model, config, packing = pipeline.shape(stage), plan.config, plan.packing
    flops = flops_per_token(model, sequence_length=packing.sequence_length)
    machine, choice = pipeline.machine, pipeline.choice if stage == "pretraining" else None
    tokens_per_s = TYPICAL_SHARE_OF_PEAK * machine.gflops[machine.best_dtype] * 1e9 / flops
    if choice:
        tokens_per_s = choice.outcome.tokens_per_s
    step_tokens = config.rows_a_step * packing.sequence_length
    epoch_steps = packing.num_rows / config.rows_a_step
    timed_steps = config.minutes * 60 * tokens_per_s / step_tokens
    steps = config.steps or timed_steps or config.epochs * epoch_steps
    expected = {"expected_loss": round(choice.outcome.loss, 3)} if choice and choice.foretells else {}
    return {
        "parameters": model.num_parameters,
        "trained": sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        "tokens": plan.shards.manifest.num_tokens,
        "steps": max(1, round(steps)),
        "epochs": round(steps / epoch_steps, 2),
        "tokens_per_s": round(tokens_per_s),
        "minutes": round(config.minutes or steps * step_tokens / tokens_per_s / 60, 1),
        **expected,
    }


def memory_figures(memory: MemoryEstimate) -> dict[str, float]:
    """What a stage holds in memory, whole and in parts."""
    sizes = {"memory": memory.total, **asdict(memory)}
    return {f"{name}_gib": round(size / GIB, 2) for name, size in sizes.items()}
