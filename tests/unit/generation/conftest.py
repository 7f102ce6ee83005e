"""A tiny model with random weights, in a folder that ``transformers`` loads too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.generation.engine import Engine


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread(one_thread: None) -> None: ...


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """The folder of the tiny model."""
    return write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(model_folder: Path) -> Engine:
    """An engine over the tiny model that has read nothing yet."""
    return Engine.from_pretrained(model_folder, max_slots=4096)
