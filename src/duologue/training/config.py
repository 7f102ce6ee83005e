"""The recipe's tables ``[pretraining]`` and ``[finetuning]``: one training stage each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from duologue.config import require, to_mapping

CHUNK = 1024  # places whose logits stand in memory at once
FSDP_FROM_PARAMETERS = 300_000_000  # smaller models are copied to every rank (DDP), larger ones are shared out (FSDP2)
# What may differ when a checkpoint is continued, since no weight depends on it.
FREE_SETTINGS = ("evaluate_every", "save_every_s", "keep_checkpoints", "micro_batch_tokens")
NEAREST_ANCHOR = 3  # steps between a bad step and the one to go back to, at least


@dataclass(frozen=True)
class StageConfig:
    """How one stage trains. Its length is ``minutes``, or ``steps``, or else ``epochs`` over the data."""

    minutes: Annotated[float, "wall-clock of the stage, from its start to its saved model; 0 = go by steps"] = 0.0
    steps: Annotated[int, "optimiser steps; 0 = go by minutes or epochs"] = 0
    epochs: Annotated[float, "passes over the data: the length without minutes and steps"] = 4
    sequence_length: Annotated[int, "tokens in a row; 0 = the model's context, 1024 at most"] = 0
    batch_tokens: Annotated[int, "tokens in an optimiser step"] = 8192
    micro_batch_tokens: Annotated[int, "tokens that go through the model at once; 0 = the whole batch"] = 0
    learning_rate: Annotated[float, "peak rate for the blocks' matrices (Muon); LoRA has its own"] = 0.01
    embedding_learning_rate: Annotated[float, "peak rate for embeddings and norms (AdamW)"] = 0.005
    head_learning_rate: Annotated[float, "peak rate of an untied output head (AdamW); 0 = the embeddings'"] = 0.0
    weight_decay: Annotated[float, "decay of the matrices"] = 0.05
    warmup_steps: Annotated[int, "steps in which the rate rises from zero"] = 20
    cooldown: Annotated[float, "share of the stage in which the rate falls to zero at the end"] = 0.4
    matrix_optimizer: Annotated[Literal["muon", "adamw"], "moves the blocks' matrices; adamw wants low rates"] = "muon"
    max_gradient_norm: Annotated[float, "longer gradients are cut to this length"] = 1.0
    size: Annotated[Literal["recipe", "minutes"], "minutes = shape, batch, rows chosen for the minutes"] = "recipe"
    vocabulary_share: Annotated[float, "share of all tokens that a step compares its labels with; 1 = all"] = 1.0
    start: Annotated[Literal["random", "counts"], "first weights; counts = of which token follows which"] = "random"
    seed: Annotated[int, "order of the data and first weights"] = 0
    dtype: Annotated[Literal["auto", "float32", "bfloat16"], "number format; auto = what multiplies faster"] = "auto"
    compile: Annotated[Literal["auto", "on", "off"], "torch.compile; auto = where the stage is long enough"] = "auto"
    native: Annotated[Literal["auto", "off"], "C++ kernels of our own where the processor suits; off = torch"] = "auto"
    threads: Annotated[int, "torch's threads; 0 = as many as it takes here, kept to the run's end"] = 0
    evaluate_every: Annotated[int, "steps between looks at the validation data; 0 = ten times a stage"] = 0
    patience: Annotated[int, "looks without a better validation loss before the stage stops; 0 = never"] = 0
    save_every_s: Annotated[float, "seconds between checkpoints"] = 60.0
    keep_checkpoints: Annotated[int, "newest checkpoints that are kept"] = 2
    anchor_every: Annotated[int, "steps between the checkpoints that a run goes back to when steps go wrong"] = 100
    parallel: Annotated[Literal["auto", "ddp", "fsdp"], "several processes: copies, or parts; auto = by size"] = "auto"

    def __post_init__(self) -> None:
        at_least = {"minutes": 0, "steps": 0, "epochs": 0, "sequence_length": 0, "micro_batch_tokens": 0,
                    "weight_decay": 0, "warmup_steps": 0, "evaluate_every": 0, "patience": 0, "threads": 0,
                    "save_every_s": 0, "seed": 0, "head_learning_rate": 0}  # fmt: skip
        for name, low in at_least.items():
            require(getattr(self, name) >= low, name, getattr(self, name), f"at least {low}")
        for name in ("batch_tokens", "learning_rate", "embedding_learning_rate", "max_gradient_norm"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        require(0 < self.vocabulary_share <= 1, "vocabulary_share", self.vocabulary_share, "more than 0, at most 1")
        require(0 <= self.cooldown <= 1, "cooldown", self.cooldown, "0 to 1")
        for name in ("keep_checkpoints", "anchor_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.sequence_length != 1, "sequence_length", self.sequence_length, "0, or at least 2")
        require(not (self.minutes and self.steps), "minutes", self.minutes, "0 where steps are given: one of the two")

    def is_anchor(self, step: int, *, before: int | None = None) -> bool:
        """Whether a checkpoint of this step is one to go back to, from step ``before``; early on there are more.

        The last steps before a bad one are passed over: their weights are hardly other than those that failed.
        """
        every = self.anchor_every
        is_far = before is None or step <= before - max(NEAREST_ANCHOR, every // 10)
        return step > 0 and is_far and (step % every == 0 or step in (every // 4, every // 2))

    @property
    def rows_at_once(self) -> int:
        """Rows that go through the model at once, where sequence_length is given."""
        places = min(self.micro_batch_tokens or self.batch_tokens, self.batch_tokens)
        return max(1, places // self.sequence_length)

    @property
    def rows_a_step(self) -> int:
        """Rows in an optimiser step, of all processes together: a whole number of what goes through at once."""
        at_once = self.rows_at_once
        return at_once * max(1, self.batch_tokens // (at_once * self.sequence_length))

    @property
    def binding(self) -> dict[str, Any]:
        """The settings that must be the same for a checkpoint to be continued."""
        return {name: value for name, value in to_mapping(self).items() if name not in FREE_SETTINGS}

    @property
    def is_open(self) -> bool:
        """Whether the model's size is still to be chosen."""
        return self.size == "minutes" and self.minutes > 0

    def is_worth_compiling(self, total_steps: float) -> bool:
        """Whether the model is compiled: as asked, else where the stage is long enough to win the time back."""
        if self.compile != "auto":
            return self.compile == "on"
        return self.minutes >= 3 or total_steps >= 500
