"""The recipe's table ``[lora]``: how large an addition fine-tuning trains, in place of all weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from duologue.config import require

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Target = Literal["all", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA for fine-tuning, in PEFT's names. Pretraining trains all weights, whatever stands here."""

    rank: Annotated[int, "rank of what fine-tuning adds to each matrix; 0 = all weights, as in pretraining"] = 0
    alpha: Annotated[int, "what is added is multiplied by alpha / rank"] = 32
    learning_rate: Annotated[float, "peak rate of what is added (AdamW)"] = 0.001
    targets: Annotated[tuple[Target, ...], "the blocks' matrices that are added to, such as q_proj,v_proj"] = ("all",)

    def __post_init__(self) -> None:
        require(self.rank >= 0, "rank", self.rank, "at least 0")
        require(self.alpha > 0, "alpha", self.alpha, "more than 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        require(bool(self.targets), "targets", list(self.targets), f"all, or some of {', '.join(MODULES)}")

    @property
    def scale(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / self.rank

    @property
    def description(self) -> str:
        """``rank 8, alpha 32, on q_proj, v_proj``; nothing where all weights are trained."""
        return f"rank {self.rank}, alpha {self.alpha}, on {', '.join(self.modules)}" if self.rank else ""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the matrices, ``all`` spelled out, in the order of a block."""
        return MODULES if "all" in self.targets else tuple(name for name in MODULES if name in self.targets)
