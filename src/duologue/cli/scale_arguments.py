"""The arguments of a plan at scale, and the cluster and the job that they describe."""

from __future__ import annotations

import argparse
from dataclasses import replace

from duologue.cli.amounts import amount, positive
from duologue.errors import UsageError
from duologue.training.gpus import GPUS, Gpu
from duologue.training.rank_memory import Model
from duologue.training.scale import Cluster, Job, usual_batch
from duologue.training.shapes import shape_for, usual_vocabulary

TOKENS_PER_PARAMETER = 20  # Source: Hoffmann et al. 2022, arXiv:2203.15556
DEFAULT_LENGTH = 2048
MEMORY_GB_S = 10.0  # between processes of one machine (assumed)
FLAGS = ("params", "tokens", "gpus", "gpu", "gpus_per_node", "network", "disk", "mfu", "sequence_length",
         "batch_tokens", "vocab_size", "compile")  # fmt: skip


def add_scale_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a run that has no recipe yet."""
    group = parser.add_argument_group("a run at scale, without a recipe (numbers may end in k, m, b, t)")
    add = group.add_argument
    add("--params", type=amount, metavar="N", help="parameters of the model, such as 1b")
    add("--tokens", type=amount, metavar="N", help=f"to train on (default: {TOKENS_PER_PARAMETER} a parameter)")
    add("--gpus", type=amount, metavar="N", help="ranks (default: 1)")
    add("--gpu", metavar="NAME", help=f"{', '.join(GPUS)} (default: h100), or cpu: this machine, measured")
    add("--gpus-per-node", type=amount, metavar="N", help="default: 8; cpu: 1")
    add("--network", type=positive, metavar="GBIT", help="a node's Gb/s to the others (default: 400; cpu: 1)")
    add("--disk", type=positive, metavar="GB", help="GB/s of checkpoints, of all ranks together (default: 1)")
    add("--mfu", type=positive, metavar="SHARE", help="of the peak that training reaches (default: 0.4; cpu: 0.45)")
    add("--sequence-length", type=amount, metavar="N", help=f"tokens in a row (default: {DEFAULT_LENGTH})")
    add("--batch-tokens", type=amount, metavar="N", help="tokens in a step (default: grows with --tokens)")
    add("--vocab-size", type=amount, metavar="N", help="default: 4,096 to 32,768, grows with --params")
    add("--compile", choices=("on", "off"), metavar="on|off", help="torch.compile (default: on)")


def given_scale_flags(arguments: argparse.Namespace) -> list[str]:
    """The flags of a run at scale that were given."""
    return [f"--{name.replace('_', '-')}" for name in FLAGS if getattr(arguments, name) is not None]


def cluster_of(arguments: argparse.Namespace) -> Cluster:
    """The machines; ``--gpu cpu`` measures the one that this runs on."""
    name = (arguments.gpu or "h100").lower()
    if name != "cpu" and name not in GPUS:
        raise UsageError(f"--gpu {arguments.gpu}: unknown; known: {', '.join(GPUS)}, cpu")
    gpu = _measured() if name == "cpu" else GPUS[name]
    per_node, network = (1, 1.0) if name == "cpu" else (8, 400.0)
    if arguments.mfu:
        if arguments.mfu > 1:
            raise UsageError(f"--mfu {arguments.mfu:g}: expected a share of the peak, above 0 and at most 1")
        gpu = replace(gpu, mfu=arguments.mfu)
    return Cluster(
        gpu, arguments.gpus or 1, arguments.gpus_per_node or per_node,
        network_gbit_s=arguments.network or network, disk_gb_s=arguments.disk or 1.0,
    )  # fmt: skip


def job_of(arguments: argparse.Namespace, gpu: Gpu) -> Job:
    """The model of that size, and how it is trained."""
    length = arguments.sequence_length or DEFAULT_LENGTH
    tokens = arguments.tokens or TOKENS_PER_PARAMETER * arguments.params
    batch_tokens = arguments.batch_tokens or max(usual_batch(tokens), length)
    for flag, value, least in (("--sequence-length", length, 2), ("--batch-tokens", batch_tokens, length)):
        if value < least:
            raise UsageError(f"{flag} {value}: expected {least} or more")
    vocab_size = arguments.vocab_size or usual_vocabulary(arguments.params)
    config = shape_for(arguments.params, vocab_size=vocab_size, sequence_length=length)
    return Job(Model(config, vocab_size, gpu.number_bytes), tokens, batch_tokens, arguments.compile != "off")


def _measured() -> Gpu:
    from duologue.pipeline.plan import TYPICAL_SHARE_OF_PEAK
    from duologue.runtime import measure_machine

    machine = measure_machine()
    return Gpu(
        "cpu", machine.gflops[machine.best_dtype] / 1e3, machine.memory_gib, MEMORY_GB_S,
        number_bytes=2 if machine.best_dtype == "bfloat16" else 4, mfu=TYPICAL_SHARE_OF_PEAK,
    )  # fmt: skip
