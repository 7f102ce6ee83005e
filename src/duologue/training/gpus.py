"""What makers say of their GPUs, as a plan needs it."""

from __future__ import annotations

from dataclasses import dataclass

# Of the peak, by training steps of dense models in bfloat16 on H100s: 33 to 39 % torchtitan (8 B), 46 % fms-fsdp (7 B),
# 49 % llm.c (1.6 B), 50 % nanochat (0.6 B), worked out from the figures that they publish. A plan takes a cautious one.
USUAL_MFU = 0.40


@dataclass(frozen=True)
class Gpu:
    """One processor of a cluster.

    Attributes:
        tflops: peak of dense matrix products in bfloat16 with float32 sums, 10^12 operations a second.
        memory_gib: what its driver reports.
        link_gb_s: to its neighbours in the same node, in one direction, 10^9 bytes a second.
        number_bytes: of the format in which it computes.
        mfu: share of the peak that a training step reaches.
    """

    name: str
    tflops: float
    memory_gib: float
    link_gb_s: float
    number_bytes: int = 2
    mfu: float = USUAL_MFU


# Source: NVIDIA's data sheets of A100 80 GB SXM, H100 SXM, H200 SXM, HGX B200, L40S; Ada white paper (RTX 4090). Peaks
# are without sparsity, links are half of what is given for both directions; the last two have PCIe 4.0 x16 alone.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100", 312, 80, 300),
        Gpu("h100", 989, 79, 450),
        Gpu("h200", 989, 140, 450),
        Gpu("b200", 2250, 179, 900),
        Gpu("l40s", 362, 45, 32),
        Gpu("rtx4090", 165, 24, 32),
    )
}
