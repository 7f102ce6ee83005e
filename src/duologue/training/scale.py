"""A training run on many GPUs, worked out before there is one: memory, time, network, failures. Needs no torch.

Every figure is a formula over the shape of the model and the data sheets of the machines; tests hold the shapes,
shards, bytes and operations against torch itself. What a formula cannot know is stated as an input: the share of the
peak that training reaches, the rate of the network, the rate of failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from duologue.training.config import FSDP_FROM_PARAMETERS
from duologue.training.failures import Outlook, outlook_of
from duologue.training.gpus import Gpu
from duologue.training.rank_memory import GIB, Model, Parallelism, RankMemory, memory_of_rank, most_rows
from duologue.training.sharing import rows_of_rank
from duologue.training.traffic import Traffic, muon_flops, traffic_of

HELD_BACK_GIB, HOLES = 2.0, 0.05  # CUDA and NCCL themselves, and what an allocator cannot fill (assumed)
# Source: Bergsma et al. 2025, arXiv:2505.13738 (the exponent); nanochat: 2^19 tokens for 1.2 G tokens.
BATCH_EXPONENT, BATCH_ANCHOR, TOKENS_ANCHOR = 0.383, 2**19, 1.2e9
MOST_RANKS = 2**16  # so far a number of ranks is looked for that would fit


@dataclass(frozen=True)
class Cluster:
    """The machines.

    Attributes:
        network_gbit_s: of a whole node's ports together, to the other nodes, in one direction.
        disk_gb_s: at which all ranks together write a checkpoint, 10^9 bytes a second.
    """

    gpu: Gpu
    gpus: int
    gpus_per_node: int
    network_gbit_s: float
    disk_gb_s: float

    @property
    def nodes(self) -> int:
        """Machines."""
        return math.ceil(self.gpus / self.gpus_per_node)

    @property
    def bytes_per_s(self) -> float:
        """Of a ring through all GPUs: the slower of the links inside a node and the network between nodes."""
        inside, between = self.gpu.link_gb_s * 1e9, self.network_gbit_s / 8 * 1e9
        return inside if self.nodes == 1 else min(inside, between)

    @property
    def usable_bytes(self) -> float:
        """Memory of a GPU that training may fill."""
        return ((1 - HOLES) * self.gpu.memory_gib - HELD_BACK_GIB) * GIB


@dataclass(frozen=True)
class Job:
    """The training: a model of the length of its rows, on so many tokens.

    Attributes:
        batch_tokens: of an optimiser step on all ranks.
        is_compiled: by torch.compile; the attention of compiled blocks keeps more in memory.
    """

    model: Model
    tokens: int
    batch_tokens: int
    is_compiled: bool

    @property
    def rows(self) -> int:
        """Of a step, on all ranks."""
        return max(1, self.batch_tokens // self.model.config.max_position_embeddings)

    @property
    def steps(self) -> int:
        """In all."""
        return math.ceil(self.tokens / self.batch_tokens)


@dataclass(frozen=True)
class StepTime:
    """Seconds of an optimiser step, by what they go to.

    Attributes:
        compute_s: forward and backward passes.
        exposed_s: waiting for the network, what hides behind the passes left out.
        muon_s: Muon's own products.
        muon_exposed_s: Muon's traffic, which nothing hides.
    """

    compute_s: float
    exposed_s: float
    muon_s: float
    muon_exposed_s: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.compute_s + self.exposed_s + self.muon_s + self.muon_exposed_s


@dataclass(frozen=True)
class ScalePlan:
    """What a run needs.

    Attributes:
        micro_batch_rows: that go through the model at once: as many as fit, in equal parts; at least 1, fitting or not.
        memory, recomputed_memory: of the fullest rank, as it is, and if blocks were computed twice to keep less.
        most_rows, most_recomputed_rows: at once, that would fit.
        fitting_ranks: fewest that would do for one row at once; 0 where no number does.
        parity_tokens: tokens of a micro-batch and rank at which sending takes as long as computing; 0 with one rank.
    """

    cluster: Cluster
    job: Job
    parallelism: Parallelism
    rows_per_rank: int
    micro_batch_rows: int
    micro_batches: int
    memory: RankMemory
    recomputed_memory: RankMemory
    most_rows: int
    most_recomputed_rows: int
    fitting_ranks: int
    traffic: Traffic
    parity_tokens: float
    step: StepTime
    outlook: Outlook

    @property
    def tokens_per_s(self) -> float:
        """Of all ranks together, while nothing fails."""
        return self.job.batch_tokens / self.step.total_s

    @property
    def training_days(self) -> float:
        """While nothing fails and nothing is saved."""
        return self.job.steps * self.step.total_s / 86_400

    @property
    def days(self) -> float:
        """With checkpoints and failures."""
        return self.training_days / max(1e-9, self.outlook.effective_share)


def plan_at_scale(cluster: Cluster, job: Job) -> ScalePlan:
    """Works it all out."""
    world_size, model = cluster.gpus, job.model
    parallelism = parallelism_of(model.num_parameters, world_size)
    fits = _most_rows(cluster, job)
    fits_recomputed = most_rows(
        model, parallelism, world_size=world_size, keeping="recomputed", usable_bytes=cluster.usable_bytes
    )
    share = len(rows_of_rank(job.rows, world_size - 1, world_size))  # the last rank has the most
    micro_batches = math.ceil(share / max(1, fits))
    micro_rows = math.ceil(share / micro_batches) if share else 1
    shared = {"rank": 0, "world_size": world_size, "num_rows": micro_rows}
    memory = memory_of_rank(model, parallelism, **shared, keeping="compiled" if job.is_compiled else "eager")
    traffic = traffic_of(model, parallelism, world_size)
    step = step_time(cluster, job, traffic, micro_batches=micro_batches, rows_per_rank=share)
    training_days = job.steps * step.total_s / 86_400
    checkpoint_bytes = checkpoint_bytes_of(model)
    return ScalePlan(
        cluster, job, parallelism, share, micro_rows, micro_batches, memory,
        memory_of_rank(model, parallelism, **shared, keeping="recomputed"),
        fits, fits_recomputed, _fitting_ranks(cluster, job), traffic, parity_tokens(cluster, job, traffic), step,
        outlook_of(world_size=world_size, training_days=training_days, checkpoint_bytes=checkpoint_bytes,
                   disk_gb_s=cluster.disk_gb_s),
    )  # fmt: skip


def parallelism_of(num_parameters: int, world_size: int) -> Parallelism:
    """A copy of the model on each rank, or from FSDP_FROM_PARAMETERS on a part of it."""
    if world_size == 1:
        return "one"
    return "fsdp2" if num_parameters >= FSDP_FROM_PARAMETERS else "ddp"


def usual_batch(tokens: int) -> int:
    """Tokens of a step that suit so many in all: B ~ D^0.383, as the nearest power of two."""
    return int(2 ** round(math.log2(BATCH_ANCHOR * (tokens / TOKENS_ANCHOR) ** BATCH_EXPONENT)))


def checkpoint_bytes_of(model: Model) -> int:
    """Weights and optimiser state in float32: 8 bytes a parameter of Muon's, 12 of AdamW's."""
    others = model.num_parameters - model.config.num_matrix_parameters
    return 8 * model.config.num_matrix_parameters + 12 * others


def flops_per_s(gpu: Gpu) -> float:
    """Operations that a GPU does in training: the peak times the share that is reached."""
    return gpu.tflops * 1e12 * gpu.mfu


def parity_tokens(cluster: Cluster, job: Job, traffic: Traffic) -> float:
    """Tokens of a rank's micro-batch that take as long to compute as its traffic takes to pass."""
    seconds = _passing(cluster) * traffic.micro_batch / cluster.bytes_per_s
    return seconds * flops_per_s(cluster.gpu) / _flops_per_token(job)


def step_time(cluster: Cluster, job: Job, traffic: Traffic, *, micro_batches: int, rows_per_rank: int) -> StepTime:
    """Seconds of a step: a third of the computing is forward, two thirds backward; each pass hides its own traffic."""
    places = rows_per_rank * job.model.config.max_position_embeddings
    compute_s = places * _flops_per_token(job) / flops_per_s(cluster.gpu)
    rate = cluster.bytes_per_s / max(1e-9, _passing(cluster))
    a_pass = compute_s / max(1, micro_batches)
    hideable = max(0, traffic.backward - traffic.ends)
    over = max(0.0, traffic.forward / rate - a_pass / 3) + max(0.0, hideable / rate - a_pass * 2 / 3)
    parallelism = parallelism_of(job.model.num_parameters, cluster.gpus)
    return StepTime(
        compute_s=compute_s,
        exposed_s=micro_batches * (over + traffic.ends / rate),
        muon_s=muon_flops(job.model, parallelism, cluster.gpus) / flops_per_s(cluster.gpu),
        muon_exposed_s=traffic.muon / rate,
    )


def _passing(cluster: Cluster) -> float:
    """Of what a ring carries, the share that passes through each rank; what a rank has itself need not come."""
    return (cluster.gpus - 1) / cluster.gpus


def _flops_per_token(job: Job) -> int:
    config = job.model.config
    return config.flops_per_token(vocab_size=job.model.vocab_size, sequence_length=config.max_position_embeddings)


def _most_rows(cluster: Cluster, job: Job) -> int:
    return most_rows(
        job.model, parallelism_of(job.model.num_parameters, cluster.gpus), world_size=cluster.gpus,
        keeping="compiled" if job.is_compiled else "eager", usable_bytes=cluster.usable_bytes,
    )  # fmt: skip


def _fitting_ranks(cluster: Cluster, job: Job) -> int:
    """Fewest ranks, doubling from what is asked for, with which one row fits."""
    ranks = cluster.gpus
    while ranks <= MOST_RANKS:
        if _most_rows(replace(cluster, gpus=ranks), job):
            return ranks
        ranks *= 2
    return 0
