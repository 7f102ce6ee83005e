"""duologue: build, harden, look into and serve a ChatGPT of your own.

    >>> from duologue import Engine, GenerationConfig
    >>> engine = Engine.from_pretrained("runs/quickstart/model")
    >>> engine.generate([{"role": "user", "content": "hello"}], GenerationConfig(max_new_tokens=40))

A public name is loaded when it is first used, so that ``import duologue`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duologue.conversation import Conversation, Message, Role
    from duologue.errors import (
        BusyError,
        ClosedError,
        ConfigError,
        ContextLengthError,
        DataError,
        DuologueError,
        ModelFolderError,
        NumericalError,
        RunFolderError,
        UsageError,
    )
    from duologue.generation.async_engine import AsyncEngine
    from duologue.generation.config import GenerationConfig
    from duologue.generation.engine import Engine
    from duologue.tokenizer.tokenizer import Tokenizer

__version__ = "0.1.0"

__all__ = [
    "AsyncEngine",
    "BusyError",
    "ClosedError",
    "ConfigError",
    "ContextLengthError",
    "Conversation",
    "DataError",
    "DuologueError",
    "Engine",
    "GenerationConfig",
    "Message",
    "ModelFolderError",
    "NumericalError",
    "Role",
    "RunFolderError",
    "Tokenizer",
    "UsageError",
]

_HOMES = {
    "AsyncEngine": "duologue.generation.async_engine",
    "Conversation": "duologue.conversation",
    "Engine": "duologue.generation.engine",
    "GenerationConfig": "duologue.generation.config",
    "Message": "duologue.conversation",
    "Role": "duologue.conversation",
    "Tokenizer": "duologue.tokenizer.tokenizer",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'duologue' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "duologue.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
