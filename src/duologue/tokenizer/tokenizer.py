"""Tokenizer: text to ids and back, with no way from text to a control token."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from duologue.errors import ModelFolderError
from duologue.tokenizer.bpe import CONTROL_TOKENS, END_OF_TEXT, END_OF_TURN, START_OF_TURN, train_bpe
from duologue.tokenizer.chat_template import CHATML, ChatTemplate
from duologue.tokenizer.config import TokenizerConfig
from duologue.tokenizer.template_family import read_template


class Tokenizer:
    """Byte-level BPE in two views of one vocabulary.

    Content is encoded by a copy that knows no control tokens, so whatever a user types stays text. Control tokens are
    added by id, by the chat template only.
    """

    def __init__(self, backend: tokenizers.Tokenizer, chat_template: ChatTemplate = CHATML) -> None:
        """Wraps a byte-level BPE tokenizer of the ``tokenizers`` library that has the three control tokens.

        Args:
            chat_template: how its model writes turns.
        """
        self._backend, self.chat_template = backend, chat_template
        self._content = _without_control_tokens(backend)
        missing = [token for token in CONTROL_TOKENS if backend.token_to_id(token) is None]
        if missing:
            raise ModelFolderError(f"tokenizer: lacks the control token {missing[0]}; expected {CONTROL_TOKENS}")

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """A tokenizer learned from texts."""
        return cls(train_bpe(texts, vocab_size=config.vocab_size))

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Tokenizer:
        """The tokenizer of a model folder."""
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise ModelFolderError(f"{folder}: has no tokenizer.json; expected a model folder")
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
            return cls(backend, read_template(path.parent))
        except ModelFolderError:
            raise
        except Exception as error:  # the library raises bare Exception for a file that it cannot read
            raise ModelFolderError(f"{path}: is not a readable tokenizer: {error}") from None

    def save_pretrained(self, folder: Path | str, *, max_length: int) -> None:
        """Writes ``tokenizer.json`` and ``tokenizer_config.json``, the template in it, into a model folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._backend.to_str(pretty=True), encoding="utf-8")
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END_OF_TURN,
            "pad_token": END_OF_TEXT,
            "additional_special_tokens": [START_OF_TURN, END_OF_TURN],
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "chat_template": self.chat_template.jinja,
        }
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """What ``tokenizer.json`` holds."""
        fields: dict[str, Any] = json.loads(self._backend.to_str())
        return fields

    @property
    def vocab_size(self) -> int:
        """Number of tokens, control tokens included."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    @cached_property
    def end_of_text_id(self) -> int:
        """Ends a plain text, and fills unused places."""
        return self._control_id(END_OF_TEXT)

    @cached_property
    def start_of_turn_id(self) -> int:
        """Opens a turn; the role follows."""
        return self._control_id(START_OF_TURN)

    @cached_property
    def end_of_turn_id(self) -> int:
        """Ends a turn: the model says it when its reply is complete."""
        return self._control_id(END_OF_TURN)

    @cached_property
    def control_ids(self) -> frozenset[int]:
        """Ids that no text encodes to."""
        return frozenset(self._backend.get_added_tokens_decoder())

    @cached_property
    def silent_ids(self) -> frozenset[int]:
        """Control ids that are no part of a text; others, as that of <think>, are read as what they are called."""
        added = self._backend.get_added_tokens_decoder()
        return frozenset(token_id for token_id, token in added.items() if token.special)

    def encode(self, text: str) -> list[int]:
        """The ids of a text; never a control id, whatever the text says."""
        return list(self._content.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, on all cores."""
        return [encoding.ids for encoding in self._content.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_template(self, text: str) -> list[int]:
        """The ids of what a chat template writes: control tokens in it are meant."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; control tokens are left out, broken UTF-8 becomes U+FFFD."""
        kept = (self.token_bytes(i) for i in ids if i not in self.silent_ids)
        return b"".join(kept).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that one token stands for; a character may be spread over several tokens."""
        return self._bytes_of_token[token_id]

    def stream_decoder(self) -> StreamDecoder:
        """A decoder that takes ids one by one."""
        return StreamDecoder(self)

    @cached_property
    def _bytes_of_token(self) -> list[bytes]:
        byte_of = {character: byte for byte, character in enumerate(_byte_alphabet())}
        table = []
        for token_id in range(self.vocab_size):
            token = self._backend.id_to_token(token_id) or ""
            is_control = token_id in self.control_ids
            table.append(token.encode("utf-8") if is_control else bytes(byte_of[character] for character in token))
        return table

    def _control_id(self, token: str) -> int:
        token_id = self._backend.token_to_id(token)
        assert token_id is not None, "checked when the tokenizer was made"
        return token_id


class StreamDecoder:
    """Turns ids into text as they come, and never gives out half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Starts with nothing read."""
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is still open."""
        if token_id in self._tokenizer.silent_ids:
            return ""
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """What is left at the end: U+FFFD where a character was cut off, else nothing."""
        return self._utf8.decode(b"", final=True)


def _without_control_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    fields = json.loads(backend.to_str())
    fields["added_tokens"] = []
    fields["post_processor"] = None
    return tokenizers.Tokenizer.from_str(json.dumps(fields))


def _byte_alphabet() -> list[str]:
    """The character by which byte-level BPE writes each byte: itself where printable, else one from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
