"""What a plan at scale comes to, in sentences; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from duologue.training.rank_memory import GIB
from duologue.training.scale import ScalePlan
from duologue.training.traffic import muon_needs_rows

HIDDEN_FROM = 1.0  # times the parity
MUCH_MUON = 0.1  # of a step
FEW_EPOCHS = 4  # that teach about as much as fresh tokens. Source: Muennighoff et al. 2023, arXiv:2305.16264
CHINCHILLA = 20  # tokens a parameter. Source: Hoffmann et al. 2022, arXiv:2203.15556


def verdicts(plan: ScalePlan) -> Iterator[str]:
    """Whether it fits, whether the network keeps up, what is in the way, how much data it asks for."""
    yield _memory(plan)
    if plan.cluster.gpus > 1:
        yield from _network(plan)
        yield from _sharing(plan)
    yield from _muon(plan)
    yield _saving(plan)
    yield _data(plan)


def fits(plan: ScalePlan) -> bool:
    """Whether at least one row at once fits."""
    return plan.most_rows > 0


def short_number(number: int) -> str:
    """``1.016 G``."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:,.4g} {letter}"
    return str(number)


def _memory(plan: ScalePlan) -> str:
    needs, limit = plan.memory.total / GIB, plan.cluster.gpu.memory_gib
    if fits(plan):
        return f"fits: needs {needs:.1f} GiB of {limit:.0f}; at most {_rows(plan.most_rows)} at once would fit"
    text = f"does not fit: needs {needs:.1f} GiB of {limit:.0f}"
    if plan.fitting_ranks:
        return f"{text}; with {plan.fitting_ranks:,} ranks it would"
    if plan.most_recomputed_rows:
        return f"{text}; with blocks computed twice it would, which duologue does not do; shorten --sequence-length"
    return f"{text}, and more ranks do not help; shorten --sequence-length, or take a smaller model or a larger GPU"


def _network(plan: ScalePlan) -> Iterator[str]:
    places = plan.micro_batch_rows * plan.job.model.config.max_position_embeddings
    times = places / plan.parity_tokens
    what = f"{places:,} tokens a micro-batch are {times:.1f} times the parity of this network"
    if times >= HIDDEN_FROM:
        yield f"{what}: communication hides behind compute"
    else:
        yield f"{what}: the ranks wait; a faster network, a larger batch or fewer ranks would help"
    if plan.parallelism == "fsdp2" and plan.cluster.nodes > 1 and plan.micro_batches > 1:
        instead = f"once a step, not {plan.micro_batches} times"
        yield f"sharing inside nodes only (HSDP, not built) would cross the network {instead}"


def _sharing(plan: ScalePlan) -> Iterator[str]:
    rows, ranks = plan.job.rows, plan.cluster.gpus
    if rows < ranks:
        yield f"a step has {_rows(rows)} for {ranks:,} ranks: {ranks - rows:,} would have none; raise --batch-tokens"
    elif rows % ranks:
        yield f"{rows:,} rows do not go evenly into {ranks:,} ranks: some wait for others' last row"


def _muon(plan: ScalePlan) -> Iterator[str]:
    share = (plan.step.muon_s + plan.step.muon_exposed_s) / plan.step.total_s
    if plan.parallelism == "fsdp2" and plan.cluster.gpus > muon_needs_rows(plan.job.model):
        yield (f"torch's Muon fails on a shared matrix of fewer rows than ranks: the flattest here has "
               f"{muon_needs_rows(plan.job.model):,}, and there are {plan.cluster.gpus:,} ranks")  # fmt: skip
    if share > MUCH_MUON:
        why = "gathers matrix by matrix" if plan.parallelism == "fsdp2" else "does the same on every rank"
        yield f"Muon takes {share:.0%} of a step, since torch's {why}; larger --batch-tokens would help"


def _saving(plan: ScalePlan) -> str:
    outlook = plan.outlook
    return (f"save every {outlook.interval_s:,.0f} s (--pretraining.save_every_s {outlook.interval_s:.0f}): "
            f"{outlook.effective_share:.2%} of the time goes to training")  # fmt: skip


def _data(plan: ScalePlan) -> str:
    ratio = plan.job.tokens / plan.job.model.num_parameters
    unique = plan.job.tokens // FEW_EPOCHS
    asked = f"no more than {FEW_EPOCHS} passes ask for {short_number(unique)} different tokens"
    return f"{ratio:.1f} tokens a parameter (Chinchilla: {CHINCHILLA}); {asked}"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number:,} rows"
