"""The header of a GGUF file, read and checked on its own: settings, tokens, and where each tensor lies.

GGUF is llama.cpp's format: a magic word, two counts, typed settings by name, tensor descriptions, then the tensors.
Every count and length in it is a number that somebody else wrote, so each is held against what is left of the file
before it is followed.

Source: the GGUF specification in ggml's docs/gguf.md; block sizes as in ggml's table of types.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from duologue.errors import ModelFolderError
from duologue.transformer.strict_json import shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# A vocabulary of 260,000 tokens with its merges takes 15 MB.
MAX_HEADER_BYTES = 24 * 1024 * 1024
MAX_ITEMS = 1_500_000
MAX_ARRAY_DEPTH = 2
MAX_NAME_BYTES = 256
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**53
MAX_ALIGNMENT = 64 * 1024
DEFAULT_ALIGNMENT = 32
MIN_SETTING_BYTES = 13
MIN_TENSOR_BYTES = 32
ALIGNMENT_KEY = "general.alignment"
REMEDY = "ask for the file again, or take the model as safetensors"

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
BOOLEAN, TEXT, ARRAY = 7, 8, 9
# The least that an entry of a list takes: its length, and for a list its type too.
MIN_BYTES = {TEXT: 8, ARRAY: 12}


class NumberFormat(NamedTuple):
    """A number format of ggml: its name, and how many numbers share a block of how many bytes."""

    name: str
    block: int
    block_bytes: int


FORMATS = {
    0: NumberFormat("F32", 1, 4), 1: NumberFormat("F16", 1, 2), 2: NumberFormat("Q4_0", 32, 18),
    3: NumberFormat("Q4_1", 32, 20), 6: NumberFormat("Q5_0", 32, 22), 7: NumberFormat("Q5_1", 32, 24),
    8: NumberFormat("Q8_0", 32, 34), 9: NumberFormat("Q8_1", 32, 40), 10: NumberFormat("Q2_K", 256, 84),
    11: NumberFormat("Q3_K", 256, 110), 12: NumberFormat("Q4_K", 256, 144), 13: NumberFormat("Q5_K", 256, 176),
    14: NumberFormat("Q6_K", 256, 210), 15: NumberFormat("Q8_K", 256, 292), 16: NumberFormat("IQ2_XXS", 256, 66),
    17: NumberFormat("IQ2_XS", 256, 74), 18: NumberFormat("IQ3_XXS", 256, 98), 19: NumberFormat("IQ1_S", 256, 50),
    20: NumberFormat("IQ4_NL", 32, 18), 21: NumberFormat("IQ3_S", 256, 110), 22: NumberFormat("IQ2_S", 256, 82),
    23: NumberFormat("IQ4_XS", 256, 136), 24: NumberFormat("I8", 1, 1), 25: NumberFormat("I16", 1, 2),
    26: NumberFormat("I32", 1, 4), 27: NumberFormat("I64", 1, 8), 28: NumberFormat("F64", 1, 8),
    29: NumberFormat("IQ1_M", 256, 56), 30: NumberFormat("BF16", 1, 2), 34: NumberFormat("TQ1_0", 256, 54),
    35: NumberFormat("TQ2_0", 256, 66), 39: NumberFormat("MXFP4", 32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor of the file.

    Attributes:
        shape: rows first, as in a model folder; the file itself states it the other way round.
        number_format: ggml's name of it ("F16", "Q8_0", ...).
        offset: where its bytes begin, counted from the beginning of the file.
        size_bytes: how many they are.
    """

    name: str
    shape: tuple[int, ...]
    number_format: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """All of the file but the tensors' numbers.

    Attributes:
        version: of the format.
        metadata: the settings by name, lists as lists.
        tensors: in the order of the file.
    """

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]


def read_gguf_header(path: Path) -> GgufHeader:
    """The header of a file.

    Raises:
        ModelFolderError: it is not GGUF, not whole, or speaks of more than the file holds.
    """
    if not path.is_file():
        raise ModelFolderError(f"{path}: is not a file; expected GGUF")
    if path.stat().st_size < len(MAGIC):
        raise ModelFolderError(f"{path}: is no GGUF file: it is {path.stat().st_size} bytes long; {REMEDY}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _read_header(Cursor(data, path))


class Cursor:
    """A place in the file that only moves over what is there."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        """Starts at the first byte."""
        self.data, self.path, self.place, self.file_bytes = data, path, 0, len(data)
        self._end = min(len(data), MAX_HEADER_BYTES)
        self._items_left = MAX_ITEMS

    def fail(self, found: str) -> NoReturn:
        """Says what is wrong and where."""
        raise ModelFolderError(f"{self.path}: {found}, at byte {self.place}; {REMEDY}")

    def take(self, num_bytes: int, what: str) -> int:
        """Moves on and gives the place before."""
        begin = self.place
        if num_bytes > self._end - begin:
            limit = "the file" if self._end == self.file_bytes else f"the {MAX_HEADER_BYTES} bytes of a header"
            self.fail(f"{what} takes {num_bytes} bytes, beyond the end of {limit}")
        self.place += num_bytes
        return begin

    def take_items(self, count: int, min_bytes: int, what: str) -> None:
        """Checks a count of things before any of them is read."""
        self._items_left -= count
        if count * min_bytes > self._end - self.place or self._items_left < 0:
            self.fail(f"{what} states {count} entries, more than there can be")

    def number(self, form: str, what: str) -> Any:
        """One number; ``form`` as in ``struct``."""
        return struct.unpack_from(f"<{form}", self.data, self.take(struct.calcsize(f"<{form}"), what))[0]

    def text(self, what: str, max_bytes: int = MAX_HEADER_BYTES) -> str:
        """One text, its length before it."""
        length = self.number("Q", f"the length of {what}")
        if length > max_bytes:
            self.fail(f"{what} is {length} bytes long; expected at most {max_bytes}")
        begin = self.take(length, what)
        try:
            return str(self.data[begin : begin + length], "utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8 text")


def _read_header(cursor: Cursor) -> GgufHeader:
    begin = cursor.take(len(MAGIC), "the magic word")
    if cursor.data[begin : begin + len(MAGIC)] != MAGIC:
        cursor.fail(f"is no GGUF file: it begins with {shown(cursor.data[: len(MAGIC)])}")
    version = cursor.number("I", "the version")
    if version not in VERSIONS:
        cursor.fail(f"is GGUF of version {version}, or of another byte order; expected version 2 or 3")
    num_tensors, num_settings = (cursor.number("Q", what) for what in ("the number of tensors", "of settings"))
    cursor.take_items(num_settings, MIN_SETTING_BYTES, "the list of settings")
    metadata = _read_settings(cursor, num_settings)
    cursor.take_items(num_tensors, MIN_TENSOR_BYTES, "the list of tensors")
    tensors = tuple(_read_tensor(cursor) for _ in range(num_tensors))
    return GgufHeader(version, metadata, _place(cursor, tensors, _alignment(cursor, metadata)))


def _read_settings(cursor: Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.text("the name of a setting", MAX_NAME_BYTES)
        if not key or key in metadata:
            cursor.fail(f"the setting {shown(key)} stands twice" if key else "a setting has no name")
        what = f"the setting {shown(key)}"
        metadata[key] = _read_value(cursor, cursor.number("I", f"the type of {what}"), what)
    return metadata


def _read_value(cursor: Cursor, kind: int, what: str, depth: int = 0) -> Any:
    if kind in NUMBERS:
        return cursor.number(NUMBERS[kind], what)
    if kind == TEXT:
        return cursor.text(what)
    if kind == BOOLEAN:
        return _booleans(cursor, 1, what)[0]
    if kind == ARRAY and depth < MAX_ARRAY_DEPTH:
        return _read_array(cursor, what, depth + 1)
    cursor.fail(f"{what} has the unknown type {kind}" if kind != ARRAY else f"{what} nests lists too deeply")


def _read_array(cursor: Cursor, what: str, depth: int) -> list[Any]:
    kind = cursor.number("I", f"the type of {what}")
    count = cursor.number("Q", f"the length of {what}")
    cursor.take_items(count, MIN_BYTES.get(kind, 1), what)
    if kind in NUMBERS:
        form = f"<{count}{NUMBERS[kind]}"
        return list(struct.unpack_from(form, cursor.data, cursor.take(struct.calcsize(form), what)))
    if kind == BOOLEAN:
        return _booleans(cursor, count, what)
    if kind == TEXT:
        return [cursor.text(what) for _ in range(count)]
    if kind == ARRAY:
        return [_read_value(cursor, kind, what, depth) for _ in range(count)]
    cursor.fail(f"{what} has the unknown type {kind}")


def _booleans(cursor: Cursor, count: int, what: str) -> list[bool]:
    begin = cursor.take(count, what)
    raw = cursor.data[begin : begin + count]
    if max(raw, default=0) > 1:
        cursor.fail(f"{what} holds {max(raw)} where 0 or 1 is expected")
    return [byte == 1 for byte in raw]


def _read_tensor(cursor: Cursor) -> GgufTensor:
    """A tensor's description; its offset still counts from the first tensor."""
    name = cursor.text("the name of a tensor", MAX_NAME_BYTES)
    what = f"the tensor {shown(name)}"
    num_dimensions = cursor.number("I", what)
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        cursor.fail(f"{what} has {num_dimensions} dimensions; expected 1 to {MAX_DIMENSIONS}")
    shape = tuple(cursor.number("Q", what) for _ in range(num_dimensions))
    if min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
        cursor.fail(f"{what} has the shape {list(shape)}; expected 1 to {MAX_ELEMENTS} numbers")
    kind = cursor.number("I", what)
    if kind not in FORMATS:
        cursor.fail(f"{what} has the unknown number format {kind}")
    form = FORMATS[kind]
    if shape[0] % form.block:
        cursor.fail(f"{what} has rows of {shape[0]}; {form.name} needs a multiple of {form.block}")
    size_bytes = math.prod(shape) // form.block * form.block_bytes
    return GgufTensor(name, shape[::-1], form.name, cursor.number("Q", what), size_bytes)


def _alignment(cursor: Cursor, metadata: Mapping[str, Any]) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    is_power = isinstance(alignment, int) and 1 <= alignment <= MAX_ALIGNMENT and alignment & (alignment - 1) == 0
    if not is_power or isinstance(alignment, bool):
        cursor.fail(f"{ALIGNMENT_KEY} is {shown(alignment)}; expected a power of two up to {MAX_ALIGNMENT}")
    return int(alignment)


def _place(cursor: Cursor, tensors: tuple[GgufTensor, ...], alignment: int) -> tuple[GgufTensor, ...]:
    """The tensors with their places in the file, once it is sure that each has one of its own."""
    start = -(-cursor.place // alignment) * alignment
    reached, names = 0, set()
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        what = f"the tensor {shown(tensor.name)}"
        if tensor.name in names:
            cursor.fail(f"{what} stands twice")
        if tensor.offset % alignment:
            cursor.fail(f"{what} begins at {tensor.offset}; expected a multiple of {alignment}")
        if tensor.offset < reached:
            cursor.fail(f"{what} overlaps the tensor before it")
        reached = tensor.offset + tensor.size_bytes
        if reached > cursor.file_bytes - start:
            cursor.fail(f"{what} ends {reached - cursor.file_bytes + start} bytes beyond the end of the file")
        names.add(tensor.name)
    return tuple(
        GgufTensor(tensor.name, tensor.shape, tensor.number_format, start + tensor.offset, tensor.size_bytes)
        for tensor in tensors
    )
