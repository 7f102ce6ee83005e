"""A tiny model with random weights, in a folder that ``transformers`` loads too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

SHAPE = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=64, max_position_embeddings=64,
)  # fmt: skip


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """The folder of the tiny model."""
    return write_model(tmp_path_factory.mktemp("tiny"), SHAPE)


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Transformer:
    """The tiny model."""
    return load_transformer(model_folder)


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    """Its tokenizer."""
    return Tokenizer.from_pretrained(model_folder)
