"""The header of a safetensors file, read and checked on its own: which tensors it holds, and that they fit.

The file is eight bytes of length, a JSON header of that length, and the tensors. The header is read here before
anything else looks at the file, because whoever maps the file believes its offsets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from duologue.errors import ModelFolderError
from duologue.transformer.strict_json import parse_object, shown

# The format allows 100 MB, which would take a gigabyte once it is read. This is room for fifty thousand tensors.
MAX_HEADER_BYTES = 8 * 1024 * 1024
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**53
LENGTH_BYTES = 8
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
    "C64": 64,
}  # fmt: skip
REMEDY = "ask for the file again, or convert the model to safetensors anew"


class StoredTensor(NamedTuple):
    """What a file says of a tensor: its number format ("F32", "BF16", ...) and its shape."""

    dtype: str
    shape: tuple[int, ...]


class Span(NamedTuple):
    """Where a tensor's bytes lie, counted from the end of the header."""

    begin: int
    end: int
    name: str


def read_safetensors_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name.

    Raises:
        ModelFolderError: the header is not whole, or its tensors do not fill the file exactly, one after the other.
    """
    header, num_bytes = _read(path)
    _check_notes(path, header.pop("__metadata__", {}))
    tensors: dict[str, StoredTensor] = {}
    spans: list[Span] = []
    for name, fields in header.items():
        where = f"{path}: tensor {shown(name)}"
        tensors[name] = _stored_tensor(where, fields)
        spans.append(_span(where, name, fields["data_offsets"], tensors[name]))
    _check_cover(path, sorted(spans), num_bytes)
    return tensors


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and the number of bytes behind it."""
    if not path.is_file():
        raise ModelFolderError(f"{path}: is not a file; expected safetensors")
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if file_bytes < LENGTH_BYTES or length > file_bytes - LENGTH_BYTES:
            found = f"states a header of {length} bytes but is {file_bytes} bytes long"
            raise ModelFolderError(f"{path}: {found}; {REMEDY}")
        if length > MAX_HEADER_BYTES:
            found = f"states a header of {length} bytes; expected at most {MAX_HEADER_BYTES}"
            raise ModelFolderError(f"{path}: {found}; {REMEDY}")
        header = parse_object(file.read(length), where=f"{path}: header")
    return header, file_bytes - LENGTH_BYTES - length


def _check_notes(path: Path, notes: object) -> None:
    if not isinstance(notes, Mapping) or not all(isinstance(note, str) for note in notes.values()):
        raise ModelFolderError(f"{path}: __metadata__ is {shown(notes)}; expected texts by name; {REMEDY}")


def _stored_tensor(where: str, fields: object) -> StoredTensor:
    if not isinstance(fields, Mapping) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFolderError(f"{where}: is {shown(fields)}; expected dtype, shape and data_offsets; {REMEDY}")
    dtype, shape = fields["dtype"], fields["shape"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ModelFolderError(f"{where}: dtype is {shown(dtype)}; expected one of {', '.join(BITS)}; {REMEDY}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        expected = f"at most {MAX_DIMENSIONS} whole numbers from 0 to {MAX_ELEMENTS}"
        raise ModelFolderError(f"{where}: shape is {shown(shape)}; expected {expected}; {REMEDY}")
    if math.prod(shape) > MAX_ELEMENTS:
        raise ModelFolderError(f"{where}: shape is {shown(shape)}, more than {MAX_ELEMENTS} numbers; {REMEDY}")
    return StoredTensor(dtype, tuple(shape))


def _span(where: str, name: str, offsets: object, tensor: StoredTensor) -> Span:
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise ModelFolderError(f"{where}: data_offsets is {shown(offsets)}; expected begin and end; {REMEDY}")
    begin, end = offsets
    num_bits = math.prod(tensor.shape) * BITS[tensor.dtype]
    if (end - begin) * 8 != num_bits:
        found = f"data_offsets {begin} to {end} hold {end - begin} bytes"
        expected = f"{tensor.dtype} of shape {list(tensor.shape)} takes {num_bits / 8:.15g}"
        raise ModelFolderError(f"{where}: {found}; {expected}; {REMEDY}")
    return Span(begin, end, name)


def _check_cover(path: Path, spans: list[Span], num_bytes: int) -> None:
    """Each tensor begins where the one before ends, and the last ends with the file."""
    reached = 0
    for span in spans:
        if span.begin != reached:
            what = "overlaps the tensor before it" if span.begin < reached else "leaves a hole before it"
            raise ModelFolderError(f"{path}: tensor {shown(span.name)}: {what}, at byte {span.begin}; {REMEDY}")
        reached = span.end
    if reached != num_bytes:
        raise ModelFolderError(f"{path}: holds {num_bytes} bytes of tensors; its header speaks of {reached}; {REMEDY}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ELEMENTS
