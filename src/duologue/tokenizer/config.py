"""The recipe's table ``[tokenizer]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from duologue.config import require


@dataclass(frozen=True)
class TokenizerConfig:
    """How the tokenizer is trained."""

    vocab_size: Annotated[int, "tokens in the vocabulary, 256 bytes and 3 control tokens included"] = 8192
    max_train_mb: Annotated[float, "megabytes of text to learn merges from; the rest is not needed for that"] = 50.0

    def __post_init__(self) -> None:
        require(300 <= self.vocab_size <= 1_000_000, "vocab_size", self.vocab_size, "300 to 1000000")
        require(self.max_train_mb > 0, "max_train_mb", self.max_train_mb, "more than 0")
