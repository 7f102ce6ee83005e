"""The recipe's table ``[adversarial]``: the noise that fine-tuning learns to read past."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from duologue.adversarial.families import select_families
from duologue.config import require
from duologue.errors import ConfigError

HELD_OUT = ("hearing", "sight", "conflict")  # the groups that our own benchmark never trains on


@dataclass(frozen=True)
class AdversarialConfig:
    """How fine-tuning is made harder."""

    row_share: Annotated[float, "share of dialogues in which users' turns are made harder; 0 = none"] = 0.0
    turn_share: Annotated[float, "share of the users' turns of such a dialogue that are"] = 0.7
    max_rate: Annotated[float, "most edits in a turn, as a share of its words (Chinese: characters)"] = 0.3
    dialogue_share: Annotated[float, "share of such dialogues whose course is made harder too"] = 0.15
    families: Annotated[tuple[str, ...], "families or groups of noise; none = all"] = ()
    hold_out: Annotated[tuple[str, ...], "families or groups that are left out, to test with"] = ()
    adapts: Annotated[bool, "whether noise that the model fails at comes more often"] = True
    saliency_share: Annotated[float, "share of turns whose noise strikes where the model looks"] = 0.5
    consistency: Annotated[float, "weight of the reply's divergence from that to the clean question; 0 = off"] = 0.5
    worst_of: Annotated[int, "1, or so many noisy forms of one batch in nine, of which the worst is learned"] = 1
    repair_share: Annotated[float, "share of rows that are repairs of the model's own errors, once it was asked"] = 0.0
    repair_questions: Annotated[int, "questions that the model is asked for its errors, twice in a stage"] = 600
    embedding: Annotated[Literal["off", "neftune", "fgm", "freelb"], "noise on what the embedding gives"] = "off"
    embedding_strength: Annotated[float, "NEFTune's alpha, or how long the noise of a dialogue is"] = 5.0
    embedding_steps: Annotated[int, "FreeLB's passes over a batch"] = 3
    clean_reference: Annotated[str, "metrics.jsonl of the same run without noise, for the budget"] = ""
    clean_budget: Annotated[float, "most that clean loss may be above the reference's, as a share"] = 0.005
    seed: Annotated[int, "seed of the noise"] = 0

    @property
    def is_on(self) -> bool:
        """Whether anything of it is asked for."""
        return self.row_share > 0 or self.repair_share > 0 or self.embedding != "off"

    def __post_init__(self) -> None:
        for name in ("row_share", "turn_share", "dialogue_share", "max_rate", "saliency_share", "repair_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        for name, low in {"seed": 0, "consistency": 0, "worst_of": 1, "embedding_steps": 1, "clean_budget": 0,
                          "repair_questions": 1}.items():  # fmt: skip
            require(getattr(self, name) >= low, name, getattr(self, name), f"at least {low}")
        for name in ("families", "hold_out"):
            try:
                select_families(getattr(self, name))
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None
        is_there = not self.clean_reference or Path(self.clean_reference).is_file()
        require(is_there, "clean_reference", self.clean_reference, "the metrics.jsonl of a stage")
        require(self.embedding_strength > 0, "embedding_strength", self.embedding_strength, "more than 0")
