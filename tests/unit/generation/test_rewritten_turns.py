"""A template that rewrites past turns (Qwen3): what was read is kept where it still holds, and replies are right."""

from pathlib import Path

import pytest
import tokenizers

from duologue.conversation import Conversation, Role
from duologue.generation.config import GenerationConfig
from duologue.generation.engine import Engine
from duologue.tokenizer.chat_template import ChatTemplate
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.weights import load_transformer

CONFIG = GenerationConfig(max_new_tokens=6)
REASONED = "<think>\nThe cat sat on the mat.\n</think>\n\nFine, thank you."


def engine_of(model_folder: Path) -> Engine:
    backend = tokenizers.Tokenizer.from_file(str(model_folder / "tokenizer.json"))
    tokenizer = Tokenizer(backend, ChatTemplate(has_reasoning=True))
    return Engine(load_transformer(model_folder), tokenizer, max_slots=4096)


@pytest.mark.parametrize("reply", [REASONED, "Fine, thank you."])
def test_the_next_turn_reads_again_only_what_was_rewritten(model_folder: Path, reply: str) -> None:
    chatting, fresh = engine_of(model_folder), engine_of(model_folder)
    first = Conversation.of("Hello there, how are you today?")
    chatting.generate(first, CONFIG)
    going_on = first.says(Role.ASSISTANT, reply).says(Role.USER, "What is your name?")
    ours, alone = chatting.generate(going_on, CONFIG), fresh.generate(going_on, CONFIG)
    assert ours.sequences == alone.sequences
    unchanged = len(encode_prompt(chatting.tokenizer, first))
    assert unchanged <= ours.stats.cached_tokens < len(encode_prompt(chatting.tokenizer, going_on))
