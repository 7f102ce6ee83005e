"""A tiny model with random weights, in a folder that ``transformers`` loads too."""

from pathlib import Path

import pytest
import torch

from duologue.tokenizer.chat_template import JINJA_TEMPLATE
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer, save_weights

TEXTS = [
    "Hello there, how are you today? I am fine, thank you. What is your name?",
    "你好，今天天气怎么样？我很好，谢谢。你叫什么名字？",
    "Seven plus eight is fifteen. The cat sat on the mat and looked at the moon 🙂.",
]
SHAPE = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=64, max_position_embeddings=64,
)  # fmt: skip


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer.train([*TEXTS, "user\n", "assistant\n", "system\n"], TokenizerConfig(vocab_size=320))
    torch.manual_seed(0)
    model = Transformer(SHAPE, vocab_size=tokenizer.vocab_size)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    save_weights(model, folder, tokenizer)
    tokenizer.save_pretrained(folder, chat_template=JINJA_TEMPLATE, max_length=SHAPE.max_position_embeddings)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Transformer:
    """The tiny model."""
    return load_transformer(model_folder)


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    """Its tokenizer."""
    return Tokenizer.from_pretrained(model_folder)
