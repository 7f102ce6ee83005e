"""Blocks of quantised numbers: unpacked as ggml's own package does, and as its description says, worked out here anew.

Source: the block structures in ggml's ggml-common.h (block_q4_1, block_q8_0, block_q4_K, block_q6_K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from duologue.errors import ModelFolderError
from duologue.hub.gguf_header import FORMATS, GgufTensor, read_gguf_header
from duologue.hub.gguf_in import KEPT_AS_THEY_ARE, _tensor, unpack_gguf
from duologue.hub.gguf_out import export_gguf
from duologue.transformer.config import TransformerConfig
from duologue.transformer.weights import load_transformer

# Rows of 256, since that is a block.
LLAMA = TransformerConfig(
    hidden_size=256, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
    intermediate_size=256, max_position_embeddings=64, qk_norm=False, rms_norm_eps=1e-5,
)  # fmt: skip
# Where in a block its scales lie, which are float16: drawn by chance they would not all be numbers.
SCALES = {
    "Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q2_K": (80, 82), "Q3_K": (108,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ4_NL": (0,), "IQ4_XS": (0,),
}  # fmt: skip
SIZES = {form.name: (form.block, form.block_bytes) for form in FORMATS.values()}
READ = {kind.name for kind in gguf.quants._type_traits} | KEPT_AS_THEY_ARE.keys()

pytestmark = pytest.mark.usefixtures("one_thread")
WriteModel = Callable[..., Path]


def random_blocks(kind: str, num_rows: int, num_columns: int, *, seed: int = 0) -> np.ndarray:
    """Rows of blocks with any contents, their scales small numbers."""
    chance = np.random.default_rng(seed)
    size, num_bytes = SIZES[kind]
    blocks = chance.integers(0, 256, (num_rows, num_columns // size, num_bytes), dtype=np.uint8)
    for place in SCALES[kind]:
        scales = chance.normal(0, 0.1, blocks.shape[:2]).astype(np.float16)
        blocks[:, :, place : place + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(num_rows, -1)


def unpacked(kind: str, rows: np.ndarray, folder: Path) -> np.ndarray:
    """The numbers as duologue reads them."""
    (folder / "blocks").write_bytes(bytes(7) + rows.tobytes())
    size, num_bytes = SIZES[kind]
    shape = (len(rows), rows.shape[1] // num_bytes * size)
    return _tensor(folder / "blocks", GgufTensor("a", shape, kind, 7, rows.nbytes), 0).numpy()


# ---- The description ----


def half(block: bytes, place: int) -> np.float32:
    return np.float32(np.frombuffer(block[place : place + 2], "<f2")[0])


def q8_0(block: bytes) -> Iterator[np.float32]:
    """A scale, then 32 signed bytes."""
    for number in np.frombuffer(block[2:], np.int8):
        yield half(block, 0) * np.float32(number)


def q4_1(block: bytes) -> Iterator[np.float32]:
    """A scale, a least value, then 16 bytes: their lower halves are the first 16 numbers, the upper ones the others."""
    for number in [byte & 15 for byte in block[4:]] + [byte >> 4 for byte in block[4:]]:
        yield half(block, 0) * np.float32(number) + half(block, 2)


def q4_k(block: bytes) -> Iterator[np.float32]:
    """Eight parts of 32 numbers, each with a scale and a least value of six bits; two parts share 32 bytes."""
    packed, numbers = block[4:16], block[16:]
    for part in range(8):
        if part < 4:
            scale, least = packed[part] & 63, packed[part + 4] & 63
        else:
            scale = (packed[part + 4] & 15) | (packed[part - 4] >> 6) << 4
            least = (packed[part + 4] >> 4) | (packed[part] >> 6) << 4
        for byte in numbers[part // 2 * 32 : part // 2 * 32 + 32]:
            number = byte >> 4 if part % 2 else byte & 15
            yield half(block, 0) * np.float32(scale) * np.float32(number) - half(block, 2) * np.float32(least)


def q6_k(block: bytes) -> Iterator[np.float32]:
    """Two halves of 128 numbers: four bits from 64 bytes, two more from 32, less 32; a signed scale for each 16."""
    lower, upper, scales = block[:128], block[128:192], np.frombuffer(block[192:208], np.int8)
    for place in range(256):
        side, inside = divmod(place, 128)
        quarter, index = divmod(inside, 32)
        four = lower[side * 64 + quarter % 2 * 32 + index] >> (quarter // 2 * 4) & 15
        two = upper[side * 32 + index] >> (quarter * 2) & 3
        yield half(block, 208) * np.float32(scales[place // 16]) * np.float32((four | two << 4) - 32)


DESCRIBED = {"Q8_0": q8_0, "Q4_1": q4_1, "Q4_K": q4_k, "Q6_K": q6_k}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_blocks_are_unpacked_as_they_are_described(tmp_path: Path, kind: str) -> None:
    rows = random_blocks(kind, 3, 512)
    num_bytes = SIZES[kind][1]
    blocks = [row[place : place + num_bytes].tobytes() for row in rows for place in range(0, len(row), num_bytes)]
    expected = np.array([number for block in blocks for number in DESCRIBED[kind](block)], np.float32).reshape(3, 512)
    found = unpacked(kind, rows, tmp_path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 100


# ---- The package ----


@pytest.mark.parametrize("kind", SCALES)
def test_blocks_are_unpacked_as_by_the_package_of_ggml(tmp_path: Path, kind: str) -> None:
    rows = random_blocks(kind, 4, 512, seed=1)
    expected = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[kind])
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(unpacked(kind, rows, tmp_path), expected)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_what_the_package_packs_is_near_what_it_was(tmp_path: Path, kind: str) -> None:
    numbers = np.random.default_rng(2).normal(0, 1, (4, 512)).astype(np.float32)
    packed = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType[kind])
    steps = 127 if kind == "Q8_0" else 7 if kind.startswith("Q4") else 15
    assert np.abs(unpacked(kind, packed, tmp_path) - numbers).max() < 1.1 * np.abs(numbers).max() / steps


def write_packed(folder: Path, write_model: WriteModel, blocks_of: Callable[[str, int, int], np.ndarray | None],
                 kind: str) -> Path:  # fmt: skip
    """A GGUF file of a model in which the matrices are blocks of that kind, where there are blocks."""
    export_gguf(write_model(folder / "model", LLAMA), folder / "plain.gguf", "f32")
    reader = gguf.GGUFReader(folder / "plain.gguf")
    writer = gguf.GGUFWriter(folder / "packed.gguf", "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            element = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        numbers = np.array(tensor.data)
        blocks = blocks_of(tensor.name, *numbers.shape) if numbers.ndim > 1 else None
        if blocks is None:
            writer.add_tensor(tensor.name, numbers)
        else:
            writer.add_tensor(tensor.name, blocks, raw_dtype=gguf.GGMLQuantizationType[kind])
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return folder / "packed.gguf"


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_a_model_of_k_quants_is_that_of_transformers(tmp_path: Path, write_model: WriteModel, kind: str) -> None:
    path = write_packed(tmp_path, write_model, lambda name, *shape: random_blocks(kind, *shape, seed=len(name)), kind)
    assert {tensor.number_format for tensor in read_gguf_header(path).tensors} == {kind, "F32"}
    unpack_gguf(path, tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    expected = dict(theirs.state_dict())
    for name, tensor in load_transformer(tmp_path / "ours").state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("kind", [form.name for form in FORMATS.values() if form.name not in READ])
def test_a_kind_that_is_not_read_is_refused_by_name(tmp_path: Path, write_model: WriteModel, kind: str) -> None:
    size, num_bytes = SIZES[kind]

    def blocks_of(name: str, num_rows: int, num_columns: int) -> np.ndarray | None:
        is_odd = name == "blk.0.ffn_up.weight"
        return np.zeros((num_rows, num_columns // size * num_bytes), np.uint8) if is_odd else None

    path = write_packed(tmp_path, write_model, blocks_of, kind)
    assert kind in {tensor.number_format for tensor in read_gguf_header(path).tensors}
    with pytest.raises(ModelFolderError, match=rf"blk\.0\.ffn_up\.weight is {kind}, which is not read here; take"):
        unpack_gguf(path, tmp_path / "ours")
