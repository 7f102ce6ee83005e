"""A tiny model with random weights, in a folder that ``transformers`` loads too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from duologue.generation.engine import Engine
from duologue.tokenizer.chat_template import JINJA_TEMPLATE
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import save_weights

TEXTS = [
    "Hello there, how are you today? I am fine, thank you. What is your name?",
    "你好，今天天气怎么样？我很好，谢谢。你叫什么名字？",
    "Seven plus eight is fifteen. The cat sat on the mat and looked at the moon 🙂.",
]
SHAPE = TransformerConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
    intermediate_size=64, max_position_embeddings=128,
)  # fmt: skip


def write_model(folder: Path, shape: TransformerConfig, *, seed: int = 0, extra_vocabulary: int = 0) -> Path:
    """A model folder with weights drawn from a normal distribution."""
    tokenizer = Tokenizer.train([*TEXTS, "user\n", "assistant\n", "system\n"], TokenizerConfig(vocab_size=320))
    torch.manual_seed(seed)
    model = Transformer(shape, vocab_size=tokenizer.vocab_size + extra_vocabulary)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    save_weights(model, folder, tokenizer)
    tokenizer.save_pretrained(folder, chat_template=JINJA_TEMPLATE, max_length=shape.max_position_embeddings)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small only wait for each other on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_writer() -> Callable[..., Path]:
    """``write_model`` for tests that need another shape."""
    return write_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return write_model(tmp_path_factory.mktemp("tiny"), SHAPE)


@pytest.fixture
def engine(model_folder: Path) -> Engine:
    """An engine over the tiny model that has read nothing yet."""
    return Engine.from_pretrained(model_folder, max_slots=4096)
