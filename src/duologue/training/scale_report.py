"""What people and programs see of a plan at scale: a table with each figure's formula in words, and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from duologue.training.failures import PROCESSOR_DAYS_PER_FAILURE, RESTART_S
from duologue.training.rank_memory import GIB
from duologue.training.scale import HELD_BACK_GIB, HOLES, ScalePlan
from duologue.training.scale_verdicts import fits, short_number, verdicts

Line = tuple[str, str, str]  # what, how much, worked out from what
WAYS = {
    "one": "one rank",
    "ddp": "DDP: each rank has the model",
    "fsdp2": "FSDP2: each rank has a part of the model",
}


def render_scale(plan: ScalePlan) -> RenderableType:
    """The table and the verdicts."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for part in (_run(plan), _memory(plan), _time(plan), _network(plan), _failures(plan)):
        lines = list(part)
        for line in lines:
            table.add_row(*map(Text, line))
        if lines:
            table.add_row()
    return Group(table, *(Text(f"- {verdict}") for verdict in verdicts(plan)))


def plan_figures(plan: ScalePlan) -> dict[str, Any]:
    """Everything, inputs of the formulas included, for JSON."""
    return asdict(plan) | {
        "parameters": plan.job.model.num_parameters,
        "nodes": plan.cluster.nodes,
        "bytes_per_s": plan.cluster.bytes_per_s,
        "usable_memory_bytes": plan.cluster.usable_bytes,
        "memory_bytes": plan.memory.total,
        "step_s": plan.step.total_s,
        "steps": plan.job.steps,
        "tokens_per_s": plan.tokens_per_s,
        "training_days": plan.training_days,
        "days": plan.days,
        "effective_share": plan.outlook.effective_share,
        "tokens_per_parameter": plan.job.tokens / plan.job.model.num_parameters,
        "assumed": {
            "held_back_gib": HELD_BACK_GIB, "holes": HOLES, "restart_s": RESTART_S,
            "processor_days_per_failure": PROCESSOR_DAYS_PER_FAILURE,
        },
        "fits": fits(plan),
        "verdicts": list(verdicts(plan)),
    }  # fmt: skip


def _run(plan: ScalePlan) -> Iterator[Line]:
    cluster, job, shape = plan.cluster, plan.job, plan.job.model.config
    heads = f"heads {shape.num_attention_heads} and {shape.num_key_value_heads}"
    nodes = "1 node" if cluster.nodes == 1 else f"{cluster.nodes:,} nodes"
    tied = "tied" if shape.tie_word_embeddings else "untied"
    yield ("model", f"{short_number(job.model.num_parameters)} parameters",
           f"{shape.num_hidden_layers} layers of {shape.hidden_size}, {heads}, feed-forward {shape.intermediate_size}, "
           f"vocabulary {job.model.vocab_size:,} {tied}")  # fmt: skip
    yield ("machines", f"{cluster.gpus:,} x {cluster.gpu.name}",
           f"{nodes} of {min(cluster.gpus, cluster.gpus_per_node)}; {WAYS[plan.parallelism]}")  # fmt: skip
    yield ("steps", f"{job.steps:,}", f"{short_number(job.tokens)} tokens / {short_number(job.batch_tokens)} a step")
    yield ("a rank's step", f"{plan.micro_batches} x {plan.micro_batch_rows} rows",
           f"of {shape.max_position_embeddings:,} tokens; a step has {job.rows:,} rows")  # fmt: skip


def _memory(plan: ScalePlan) -> Iterator[Line]:
    memory, shape = plan.memory, plan.job.model.config
    many = f"{plan.micro_batch_rows} x {shape.max_position_embeddings:,} tokens, {shape.num_hidden_layers} layers"
    part = " / ranks" if plan.parallelism == "fsdp2" else ""
    numbers = "4 bytes" if plan.parallelism == "fsdp2" or plan.job.model.number_bytes == 4 else "6 bytes"
    yield ("memory of a rank", _gib(memory.total), "the sum of these")
    yield ("  weights", _gib(memory.weights), f"{numbers} a parameter{part}")
    yield ("  gradients", _gib(memory.gradients), f"{numbers} a parameter{part}")
    yield ("  optimiser", _gib(memory.optimizer), f"Muon 4, AdamW (embeddings, norms) 8 a parameter{part}")
    if memory.gathered:
        yield ("  gathered", _gib(memory.gathered), "embeddings, 3 blocks and the gradients of one")
    yield ("  activations", _gib(memory.activations), f"of {many}, kept for the backward pass")
    yield ("  with recomputing", _gib(plan.recomputed_memory.total),
           f"the sum, were blocks computed twice; {plan.most_recomputed_rows} rows would fit")  # fmt: skip


def _time(plan: ScalePlan) -> Iterator[Line]:
    step, gpu = plan.step, plan.cluster.gpu
    yield ("step", _s(step.total_s), "the sum of these")
    yield ("  passes", _s(step.compute_s),
           f"6 x (matrices + attention) a token, at {gpu.mfu:.0%} of {gpu.tflops:,.4g} TFLOP/s")  # fmt: skip
    yield ("  waiting", _s(step.exposed_s), "what does not hide behind its pass, and the ends of passes")
    yield ("  Muon", _s(step.muon_s + step.muon_exposed_s),
           f"{_s(step.muon_s)} of products, {_s(step.muon_exposed_s)} of traffic")  # fmt: skip
    yield ("tokens a second", f"{plan.tokens_per_s:,.0f}", f"{plan.tokens_per_s / plan.cluster.gpus:,.0f} a rank")
    duration = f"{plan.days:,.1f} days" if plan.days >= 2 else f"{plan.days * 24:,.1f} hours"
    yield ("duration", duration, "steps x step, checkpoints and failures included")


def _network(plan: ScalePlan) -> Iterator[Line]:
    if plan.cluster.gpus == 1:
        return
    traffic, times = plan.traffic, plan.traffic.micro_batch / plan.job.model.num_parameters
    where = "between nodes" if plan.cluster.nodes > 1 else "inside the node"
    yield ("network", f"{plan.cluster.bytes_per_s / 1e9:,.4g} GB/s", f"{where}, one direction: the slowest of the ring")
    yield ("  passes", f"{traffic.micro_batch / 1e9:,.2f} GB", f"{times:.1f} bytes a parameter, a micro-batch")
    is_copied = plan.parallelism == "ddp"
    yield ("  updates" if is_copied else "  Muon", f"{traffic.muon / 1e9:,.2f} GB",
           "a step; each rank hands its part to all" if is_copied else
           "a step; three gathers or two sums a matrix, five times")  # fmt: skip
    yield ("  parity", f"{plan.parity_tokens:,.0f} tokens", "a micro-batch: sending takes as long as computing")


def _failures(plan: ScalePlan) -> Iterator[Line]:
    outlook = plan.outlook
    yield ("checkpoint", f"{outlook.checkpoint_bytes / 1e9:,.2f} GB", "weights and optimiser, 4 bytes a number")
    yield ("  writing", _s(outlook.checkpoint_s), f"at {plan.cluster.disk_gb_s:g} GB/s, all ranks together")
    yield ("  interval", _s(outlook.interval_s), "root of 2 x writing x time between failures (Young)")
    often = f"one in {outlook.failure_days:,.1f} days"
    yield ("failures", f"{outlook.expected_failures:,.2f}",
           f"{often}: {PROCESSOR_DAYS_PER_FAILURE:,.0f} GPU days (Llama 3) / GPUs")  # fmt: skip
    yield ("  effective time", f"{outlook.effective_share:.2%}",
           f"less {outlook.saving_share:.2%} saving, {outlook.failing_share:.2%} work lost and restarts")  # fmt: skip


def _gib(size: int) -> str:
    return f"{size / GIB:,.2f} GiB"


def _s(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:,.3g} s"
