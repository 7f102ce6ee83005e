"""Shared by all tests: small models and tokenizers, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from duologue.conversation import Conversation
from duologue.data.builtin.dialogues import builtin_dialogues
from duologue.data.corpus import texts_of
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import save_weights

TEXTS = [
    "Hello there, how are you today? I am fine, thank you. What is your name?",
    "你好，今天天气怎么样？我很好，谢谢。你叫什么名字？",
    "Seven plus eight is fifteen. The cat sat on the mat and looked at the moon 🙂.",
    *(f"{role}\n" for role in ("user", "assistant", "system")),
]
TINY = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=64, max_position_embeddings=128,
)  # fmt: skip

settings.register_profile("duologue", deadline=None)  # a busy machine is no failure
settings.load_profile("duologue")


@pytest.fixture(scope="session")
def dialogues() -> list[Conversation]:
    """Some dialogues of the built-in corpus."""
    return list(builtin_dialogues(num_dialogues=400, seed=7))


@pytest.fixture(scope="session")
def tokenizer(dialogues: list[Conversation]) -> Tokenizer:
    """A small bilingual tokenizer."""
    return Tokenizer.train(texts_of(dialogues, max_bytes=1e9), TokenizerConfig(vocab_size=800))


@pytest.fixture(scope="session")
def tiny_config() -> TransformerConfig:
    """A shape that runs in milliseconds, with grouped queries."""
    return TransformerConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=48, max_position_embeddings=128,
    )  # fmt: skip


@pytest.fixture
def tiny_model(tiny_config: TransformerConfig, tokenizer: Tokenizer) -> Transformer:
    """A model with random weights, none of them zero."""
    return random_model(tiny_config, tokenizer.vocab_size)


@pytest.fixture
def model_folder(tmp_path: Path, tiny_model: Transformer, tokenizer: Tokenizer) -> Path:
    """The same as a model folder."""
    folder = tmp_path / "model"
    save_weights(tiny_model, folder, tokenizer)
    tokenizer.save_pretrained(folder, max_length=128)
    return folder


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """``write_random_model``, for tests that need a folder of their own."""
    return write_random_model


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for each other on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_random_model(
    folder: Path, shape: TransformerConfig = TINY, *, seed: int = 0, extra_vocabulary: int = 0
) -> Path:
    """A model folder, loadable by ``transformers`` too, with matrices drawn from a normal distribution."""
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=320))
    torch.manual_seed(seed)
    model = Transformer(shape, vocab_size=tokenizer.vocab_size + extra_vocabulary)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    save_weights(model, folder, tokenizer)
    tokenizer.save_pretrained(folder, max_length=shape.max_position_embeddings)
    return folder


def random_model(config: TransformerConfig, vocab_size: int, *, seed: int = 0) -> Transformer:
    """A model whose logits depend on every weight."""
    torch.manual_seed(seed)
    model = Transformer(config, vocab_size=vocab_size).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2) if weight.ndim > 1 else weight.normal_(mean=1.0, std=0.2)
    return model
