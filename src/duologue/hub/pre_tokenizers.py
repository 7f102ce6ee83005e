"""How text is split before byte-level BPE: the splits that llama.cpp knows by name, and can be reproduced here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from duologue.errors import ModelFolderError
from duologue.tokenizer.bpe import SPLIT_PATTERN
from duologue.transformer.strict_json import shown


def _byte_level(*, use_regex: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def _qwen2() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(tokenizers.Regex(SPLIT_PATTERN), behavior="isolated")
    return pre_tokenizers.Sequence([split, _byte_level(use_regex=False)])


def _smollm() -> pre_tokenizers.PreTokenizer:
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, _byte_level(use_regex=True)])


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return _byte_level(use_regex=True)


BY_NAME: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {"qwen2": _qwen2, "smollm": _smollm, "gpt-2": _gpt2}


def pre_tokenizer(name: object) -> pre_tokenizers.PreTokenizer:
    """The split that a GGUF file names.

    Raises:
        ModelFolderError: it is none that is reproduced here.
    """
    if not isinstance(name, str) or name not in BY_NAME:
        raise ModelFolderError(f"tokenizer.ggml.pre is {shown(name)}; expected one of {', '.join(BY_NAME)}")
    return BY_NAME[name]()


def name_of(fields: dict[str, Any]) -> str:
    """llama.cpp's name of the split that a ``tokenizer.json`` describes.

    Raises:
        ModelFolderError: it knows none that does the same.
    """
    wanted = _essence(fields.get("pre_tokenizer"))
    for name, make in BY_NAME.items():
        backend = tokenizers.Tokenizer(tokenizers.models.BPE())
        backend.pre_tokenizer = make()
        if _essence(json.loads(backend.to_str())["pre_tokenizer"]) == wanted:
            return name
    known = ", ".join(BY_NAME)
    raise ModelFolderError(f"tokenizer.json: splits text in a way that llama.cpp has no name for; expected {known}")


def _essence(part: Any) -> Any:
    """What of a split matters for ids; offsets do not."""
    if isinstance(part, dict):
        return {key: _essence(value) for key, value in part.items() if key != "trim_offsets"}
    return [_essence(value) for value in part] if isinstance(part, list) else part
