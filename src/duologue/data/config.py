"""The recipe's table ``[data]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from duologue.config import require


@dataclass(frozen=True)
class DataConfig:
    """What is learned from. Pretraining reads everything; fine-tuning reads the files where there are any."""

    files: Annotated[tuple[str, ...], "dialogue files; paths count from the recipe's folder"] = ()
    prepared: Annotated[str, "a folder of duologue data prepare, whose tokens and split are taken"] = ""
    builtin_dialogues: Annotated[int, "dialogues of the built-in corpus; 0 = none"] = 0
    chitchat_share: Annotated[float, "real English small talk, where installed, as a share of the built-in text"] = 0.0
    max_mb_per_file: Annotated[float, "megabytes of text taken from each file, from its start; 0 = all"] = 0.0
    validation_rows: Annotated[int, "rows of the files kept back to see when training no longer helps, about"] = 500
    seed: Annotated[int, "seed of the built-in corpus"] = 0

    def __post_init__(self) -> None:
        for name in ("builtin_dialogues", "max_mb_per_file", "validation_rows"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("files", "builtin_dialogues", "max_mb_per_file") if self.prepared else ():
            require(not getattr(self, name), name, getattr(self, name), "none beside prepared, which is taken as it is")
        require(0 <= self.chitchat_share <= 1, "chitchat_share", self.chitchat_share, "0 to 1")
