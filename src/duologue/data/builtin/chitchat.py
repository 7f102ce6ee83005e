"""Real English small talk: the dialogues of the ``chitchat-dataset`` package (MIT), where it is installed.

They are read from the installed package and never copied into this one. People wrote them to each other, so they teach
the language and not how to answer: their turns carry no loss in fine-tuning.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import json
from collections.abc import Iterator

from duologue.conversation import Conversation, Message, Role

SOURCE = "chitchat"


def chitchat_dialogues() -> Iterator[Conversation]:
    """The dialogues with at least two turns, or none where the package is not installed."""
    try:
        file = importlib.resources.files("chitchat_dataset") / "dataset.json"
    except ModuleNotFoundError:
        return
    for id, dialogue in json.loads(file.read_text(encoding="utf-8")).items():
        texts = [" ".join(_text(message) for message in turn).strip() for turn in dialogue["messages"]]
        texts = [text for text in texts if text]
        if len(texts) >= 2:
            sides = (Role.USER, Role.ASSISTANT)
            messages = tuple(Message(sides[i % 2], text, weight=0) for i, text in enumerate(texts))
            yield Conversation(messages, id, SOURCE, "en")


def is_installed() -> bool:
    """Whether the package is there to be read."""
    return importlib.util.find_spec("chitchat_dataset") is not None


def _text(message: dict[str, str]) -> str:
    return message["text"].replace("\x00", "").strip()
