"""The tokenizer and chat template of a GGUF file, and the same written into one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models

from duologue.errors import ModelFolderError
from duologue.hub.pre_tokenizers import name_of, pre_tokenizer
from duologue.tokenizer.chat_template import CHATML
from duologue.tokenizer.template_family import recognise_template
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.strict_json import shown

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def read_gguf_tokenizer(metadata: Mapping[str, Any], *, where: str) -> Tokenizer:
    """The tokenizer that a GGUF file holds.

    Raises:
        ModelFolderError: it is no byte-level BPE, is damaged, or splits text in a way that is not reproduced here.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelFolderError(f"{where}: tokenizer.ggml.model is {shown(kind)}; expected 'gpt2', byte-level BPE")
    if metadata.get("tokenizer.ggml.add_bos_token"):
        raise ModelFolderError(f"{where}: tokenizer.ggml.add_bos_token is on, which no template here does")
    tokens, merges = (_texts(metadata, f"tokenizer.ggml.{name}", where) for name in ("tokens", "merges"))
    if len(set(tokens)) < len(tokens):
        raise ModelFolderError(f"{where}: tokenizer.ggml.tokens holds a token twice")
    backend = tokenizers.Tokenizer(_bpe(tokens, _pairs(merges, where), where))
    backend.pre_tokenizer = pre_tokenizer(metadata.get("tokenizer.ggml.pre"))
    backend.decoder = decoders.ByteLevel()
    for token, token_kind in zip(tokens, _kinds(metadata, len(tokens), where), strict=True):
        if token_kind in (CONTROL, USER_DEFINED):
            added = AddedToken(token, special=token_kind == CONTROL, normalized=False)
            backend.add_special_tokens([added]) if added.special else backend.add_tokens([added])
    source = metadata.get("tokenizer.chat_template")
    template = CHATML if source is None else recognise_template(str(source), where=f"{where}: tokenizer.chat_template")
    tokenizer = Tokenizer(backend, template)
    try:
        tokenizer.token_bytes(0)  # works out those of all tokens
    except KeyError as error:
        found = f"{where}: tokenizer.ggml.tokens holds one with {error.args[0]!r}"
        raise ModelFolderError(f"{found}, by which byte-level BPE writes no byte") from None
    return tokenizer


def gguf_tokenizer_fields(tokenizer: Tokenizer, *, num_embeddings: int) -> dict[str, Any]:
    """The metadata that llama.cpp needs to give the same ids.

    Args:
        num_embeddings: rows of the embedding; ids beyond the vocabulary get a name of their own.
    """
    fields = tokenizer.to_json()
    model = fields["model"]
    ids = {**model["vocab"], **{token["content"]: token["id"] for token in fields["added_tokens"]}}
    tokens = [f"[PAD{place}]" for place in range(num_embeddings)]
    kinds = [UNUSED] * num_embeddings
    for token, token_id in ids.items():
        tokens[token_id], kinds[token_id] = token, NORMAL
    for added in fields["added_tokens"]:
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return {"model": "gpt2", "pre": name_of(fields), "tokens": tokens, "token_type": kinds, "merges": merges}


def _bpe(tokens: list[str], merges: list[tuple[str, str]], where: str) -> models.BPE:
    try:
        return models.BPE({token: i for i, token in enumerate(tokens)}, merges)
    except Exception as error:  # all that the library raises
        raise ModelFolderError(f"{where}: tokenizer.ggml.merges do not fit the tokens: {error}") from None


def _kinds(metadata: Mapping[str, Any], num_tokens: int, where: str) -> list[Any]:
    kinds = metadata.get("tokenizer.ggml.token_type", [NORMAL] * num_tokens)
    if not isinstance(kinds, list) or len(kinds) != num_tokens:
        found = f"{len(kinds)} entries" if isinstance(kinds, list) else shown(kinds)
        raise ModelFolderError(f"{where}: tokenizer.ggml.token_type has {found}; expected one for each token")
    return kinds


def _texts(metadata: Mapping[str, Any], key: str, where: str) -> list[str]:
    found = metadata.get(key)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ModelFolderError(f"{where}: {key} is {type(found).__name__}; expected a list of texts")
    return found


def _pairs(merges: list[str], where: str) -> list[tuple[str, str]]:
    pairs = [tuple(merge.split(" ")) for merge in merges]
    for place, pair in enumerate(pairs):
        if len(pair) != 2:
            raise ModelFolderError(f"{where}: tokenizer.ggml.merges[{place}] is {merges[place]!r}; expected two tokens")
    return pairs  # type: ignore[return-value]
