"""Token shards: a corpus tokenised once, kept on disk, read through memory maps.

A shard folder holds
    tokens.bin     all tokens of all documents, one after the other (uint16, or uint32 for large vocabularies)
    learned.bin    a byte a token: 1 where fine-tuning learns it
    offsets.npy    where each document begins, and the end (int64)
    manifest.json  sizes, the tokenizer's fingerprint, bytes of text
    SEAL.json      size and SHA-256 of each of these
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from duologue.conversation import Conversation
from duologue.data.formats import PlainText, Row
from duologue.durable_files import new_folder
from duologue.errors import DataError, RunFolderError
from duologue.sealed_folder import SEAL, require_whole, seal
from duologue.tokenizer.encode_conversation import NO_LOSS, encode_conversations
from duologue.tokenizer.tokenizer import Tokenizer

BATCH_ROWS = 2_000
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a shard folder holds."""

    num_documents: int
    num_tokens: int
    num_learned: int
    num_bytes: int
    dtype: str
    tokenizer: str


@dataclass(frozen=True)
class Shards:
    """A tokenised corpus.

    Attributes:
        tokens: [num_tokens], memory-mapped.
        learned: [num_tokens], 1 where fine-tuning learns the token.
        offsets: [num_documents + 1].
    """

    manifest: Manifest
    tokens: npt.NDArray[np.unsignedinteger]
    learned: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path, *, is_checked: bool = False) -> Shards:
        """The shards of a folder that write_shards has finished.

        Args:
            is_checked: whether its files have been compared with their hashes, so that it need not be done again.

        Raises:
            DataError: there are none.
            RunFolderError: a file is damaged or gone.
        """
        if not is_checked and folder.is_dir():
            require_whole(folder / SEAL)
        try:
            manifest = Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise DataError(f"{folder}: holds no tokens") from None
        return cls(
            manifest,
            np.memmap(folder / "tokens.bin", dtype=manifest.dtype, mode="r"),
            np.memmap(folder / "learned.bin", dtype=np.uint8, mode="r"),
            np.load(folder / "offsets.npy", mmap_mode="r"),
        )


def write_shards(
    rows: Iterable[Row],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    fingerprint: str,
    if_empty: str = "the corpus is empty; expected at least one dialogue or text",
    on_progress: Callable[[int], None] = lambda num_rows: None,
) -> Shards:
    """Tokenises a corpus into a folder, which appears whole or not at all.

    Raises:
        DataError: the corpus is empty, with ``if_empty`` as its message.
    """
    try:
        with new_folder(folder) as partial:
            _write(rows, tokenizer, partial, fingerprint, if_empty, on_progress)
    except OSError as error:
        reason = error.strerror or error
        raise RunFolderError(f"{folder}: cannot be written: {reason}; free space and start again") from None
    return Shards.open(folder, is_checked=True)


def _write(
    rows: Iterable[Row],
    tokenizer: Tokenizer,
    partial: Path,
    fingerprint: str,
    if_empty: str,
    on_progress: Callable[[int], None],
) -> None:
    dtype = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
    lengths: list[int] = []
    num_learned = num_bytes = 0
    with (partial / "tokens.bin").open("wb") as tokens_file, (partial / "learned.bin").open("wb") as learned_file:
        for batch in _batches(iter(rows), BATCH_ROWS):
            for ids, learned in _tokenise(batch, tokenizer):
                tokens_file.write(np.asarray(ids, dtype=dtype).tobytes())
                learned_file.write(learned.tobytes())
                lengths.append(len(ids))
                num_learned += int(learned.sum())
            num_bytes += sum(len(row.text.encode("utf-8")) for row in batch)
            on_progress(len(lengths))
    if not lengths:
        raise DataError(if_empty)
    np.save(partial / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    manifest = Manifest(len(lengths), sum(lengths), num_learned, num_bytes, dtype, fingerprint)
    (partial / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    seal(partial)


def _tokenise(batch: list[Row], tokenizer: Tokenizer) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    """Ids and learned marks of each row, in order; a plain text ends with the end-of-text token."""
    dialogues = iter(encode_conversations(tokenizer, [row for row in batch if isinstance(row, Conversation)]))
    texts = iter(tokenizer.encode_batch([row.text for row in batch if isinstance(row, PlainText)]))
    for row in batch:
        if isinstance(row, PlainText):
            ids = [*next(texts), tokenizer.end_of_text_id]
            yield ids, np.zeros(len(ids), dtype=np.uint8)
        else:
            encoded = next(dialogues)
            yield encoded.input_ids, (np.asarray(encoded.labels) != NO_LOSS).astype(np.uint8)


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch
