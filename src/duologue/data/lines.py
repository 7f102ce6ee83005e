"""A file's bytes, unpacked, and its lines, numbered: a piece at a time, whatever the file's size.

Nothing here holds more than one line of at most MAX_LINE_BYTES. A packed file that ends too early gives all lines
before that place, then the error.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from duologue.data.quarantine import BadKind, RowError
from duologue.errors import DataError

CHUNK_BYTES = 1 << 18
MAX_LINE_BYTES = 32 << 20
BYTE_ORDER_MARK = "\ufeff"

# Line number, and what stands there (bytes, text, a JSON value) or why nothing does.
Record = tuple[int, Any]


def read_chunks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes of a ``.gz``, ``.zst`` or plain file.

    Raises:
        RowError: a packed file is cut short, or goes on with something else.
        DataError: it is damaged, so that what it gave before may be wrong without looking wrong.
    """
    with path.open("rb") as raw:
        stream = _unpacked(raw, path.suffix.lower())
        while chunk := _read(stream, path):
            yield chunk
        if path.suffix.lower() == ".zst" and not _ends_with_a_frame(raw):
            raise _cut_short()


def numbered_lines(chunks: Iterator[bytes]) -> Iterator[Record]:
    """Lines without their ``\\n``, counted from 1; a RowError in place of one that is too long, or of the lost end."""
    number = 1
    line = _GrowingLine()
    try:
        for chunk in chunks:
            first, *others = chunk.split(b"\n")
            line.append(first)
            for piece in others:
                yield number, line.take()
                number += 1
                line.append(piece)
    except RowError as error:
        yield number, error
        return
    if line.size_bytes:
        yield number, line.take()


def text_lines(chunks: Iterator[bytes]) -> Iterator[Record]:
    """Lines as text, without ``\\n`` and byte order mark; a RowError in place of one that is no text."""
    for number, line in numbered_lines(chunks):
        yield number, line if isinstance(line, RowError) else _decoded_or_error(line)


def decode(line: bytes) -> str:
    """The text of a line; RowError where it is not UTF-8 or holds a NUL."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise RowError(BadKind.UTF8, "is UTF-16; save the file as UTF-8") from None
        where = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
        raise RowError(BadKind.UTF8, f"is not UTF-8 ({where})") from None
    if "\0" in text:
        raise RowError(BadKind.NUL, f"holds a NUL character at position {text.index(chr(0)) + 1}")
    return text.removeprefix(BYTE_ORDER_MARK)


class _GrowingLine:
    """A line that is put together from pieces, and forgotten as soon as it is too long."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size_bytes = 0

    def append(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        if self.size_bytes > MAX_LINE_BYTES:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def take(self) -> bytes | RowError:
        """The line, which is begun anew."""
        line: bytes | RowError = b"".join(self._pieces)
        if self.size_bytes > MAX_LINE_BYTES:
            line = too_long(self.size_bytes)
        self._pieces.clear()
        self.size_bytes = 0
        return line


def too_long(size_bytes: int) -> RowError:
    """The error of a line or row that is not even held."""
    size_mib = size_bytes / 2**20
    return RowError(BadKind.LONG, f"is {size_mib:.1f} MiB long; expected at most {MAX_LINE_BYTES >> 20} MiB")


def _decoded_or_error(line: bytes) -> str | RowError:
    try:
        return decode(line)
    except RowError as error:
        return error


def _unpacked(raw: BinaryIO, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
    return raw


def _read(stream: Any, path: Path) -> bytes:
    try:
        # Not read(): what that had gathered when it met the end would be lost.
        return bytes(stream.read1(CHUNK_BYTES))
    except EOFError:
        raise _cut_short() from None
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        if "Not a gzipped file" in str(error):
            raise RowError(BadKind.FOREIGN, f"from here on the file is not packed by gzip: {error}") from None
        raise DataError(f"{path}: is damaged ({error}), so no row of it can be trusted; get or pack it anew") from None


def _cut_short() -> RowError:
    return RowError(BadKind.CUT, "from here on the packed file is cut short; what came before is kept")


def _ends_with_a_frame(raw: BinaryIO) -> bool:
    """Whether a Zstandard file ends where a frame ends, which its reader does not say.

    Source: RFC 8878, sections 3.1.1 and 3.1.2.
    """
    size = raw.seek(0, 2)
    position = 0
    while position < size:
        raw.seek(position)
        head = raw.read(18)
        if len(head) >= 8 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:  # a frame to skip
            position += 8 + int.from_bytes(head[4:8], "little")
            continue
        try:
            checksum_bytes = 4 if zstandard.get_frame_parameters(head).has_checksum else 0
            position = _end_of_blocks(raw, position + zstandard.frame_header_size(head)) + checksum_bytes
        except (zstandard.ZstdError, struct.error):
            return False
    return position == size


def _end_of_blocks(raw: BinaryIO, position: int) -> int:
    while True:
        raw.seek(position)
        low, high = struct.unpack("<HB", raw.read(3))
        header = low | high << 16
        is_last, is_run, size = header & 1, (header >> 1) & 3 == 1, header >> 3
        position += 3 + (1 if is_run else size)
        if is_last:
            return position
