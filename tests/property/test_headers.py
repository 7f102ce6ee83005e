"""Headers of model files, damaged anywhere: they are read or refused, and nothing else ever happens."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue.errors import ModelFolderError
from duologue.hub.gguf_header import GgufHeader, read_gguf_header
from duologue.transformer.safetensors_header import StoredTensor, read_safetensors_header
from duologue.transformer.strict_json import MAX_DEPTH, parse_object

SAFETENSORS = {
    "__metadata__": {"format": "pt"},
    "embedding": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
    "norm": {"dtype": "BF16", "shape": [3], "data_offsets": [32, 38]},
    "nothing": {"dtype": "U8", "shape": [0, 5], "data_offsets": [38, 38]},
}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def valid_safetensors() -> bytes:
    header = json.dumps(SAFETENSORS).encode()
    return struct.pack("<Q", len(header)) + header + bytes(38)


def valid_gguf() -> bytes:
    fields = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.alignment") + struct.pack("<II", 4, 32),
        text("scale") + struct.pack("<If", 6, 0.5),
        text("yes") + struct.pack("<I?", 7, True),
        text("tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("好") + text(""),
        text("nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ2h", 3, 2, 1, -1),
    ]
    tensors = [
        text("weight") + struct.pack("<IQQIQ", 2, 32, 2, 8, 0),
        text("norm") + struct.pack("<IQIQ", 1, 4, 0, 96),
    ]
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join((*fields, *tensors))
    return raw + bytes(-len(raw) % 32) + bytes(112)


WILD = (0, 1, 2**31, 2**32, 2**60, 2**63, 2**64 - 1)
FORMATS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "safetensors": (valid_safetensors(), read_safetensors_header),
    "gguf": (valid_gguf(), read_gguf_header),
}


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """The bytes with some of them changed, then cut short or drawn out."""
    data = bytearray(raw)
    for place in draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        data[place] = draw(st.integers(0, 255) | st.sampled_from([0, 1, 127, 128, 255]))
    if draw(st.booleans()):  # a number somewhere that is as wild as it can be
        place = draw(st.integers(0, len(raw) - 8))
        data[place : place + 8] = struct.pack("<Q", draw(st.sampled_from(WILD)))
    end = draw(st.integers(0, len(raw)) | st.just(len(raw)))
    return bytes(data[:end]) + draw(st.binary(max_size=8))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_header_is_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    raw, read = FORMATS[name]
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(raw)))
    refused = None
    try:
        read(path)
    except ModelFolderError as error:
        refused = str(error)
    assert refused is None or (refused.isprintable() and len(refused) < 600)


def test_undamaged_headers_are_read(tmp_path: Path) -> None:
    found = {}
    for name, (raw, read) in FORMATS.items():
        (tmp_path / name).write_bytes(raw)
        found[name] = read(tmp_path / name)
    assert found["safetensors"] == {
        "embedding": StoredTensor("F32", (4, 2)),
        "norm": StoredTensor("BF16", (3,)),
        "nothing": StoredTensor("U8", (0, 5)),
    }
    header = found["gguf"]
    assert isinstance(header, GgufHeader)
    assert header.metadata["tokens"] == ["a", "好", ""]
    assert header.metadata["nested"] == [[1, -1]]
    assert [(tensor.name, tensor.shape, tensor.size_bytes) for tensor in header.tensors] == [
        ("weight", (2, 32), 68), ("norm", (4,), 16),
    ]  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")) | st.text('\\"[]{},', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab\\"{[', max_size=4), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_json_is_read_as_by_the_standard_library(fields: dict[str, object]) -> None:
    for raw in (json.dumps(fields), json.dumps(fields, ensure_ascii=False, indent=1)):
        assert parse_object(raw.encode("utf-8", errors="surrogatepass"), where="here") == json.loads(raw)


@given(st.binary(max_size=60) | st.text('{}[]",:\\1a ', max_size=60).map(str.encode))
def test_noise_is_json_or_refused(raw: bytes) -> None:
    try:
        found = parse_object(raw, where="here")
    except ModelFolderError:
        return
    assert found == json.loads(raw)


@given(st.integers(MAX_DEPTH - 3, MAX_DEPTH + 3))
def test_depth_is_counted_outside_texts_only(depth: int) -> None:
    raw = ('{"a[{[{":' * depth + '"}]\\\\"' + "}" * depth).encode()
    if depth <= MAX_DEPTH:
        assert parse_object(raw, where="here")
    else:
        with pytest.raises(ModelFolderError, match="nested"):
            parse_object(raw, where="here")
