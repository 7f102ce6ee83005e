"""A GGUF file in: its weights, tokenizer, template and settings as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from duologue.errors import ModelFolderError
from duologue.generation.config import GenerationConfig, write_generation_config
from duologue.hub.gguf_header import GgufHeader, GgufTensor, read_gguf_header
from duologue.hub.gguf_names import ARCHITECTURES, SHAPE_KEYS, deinterleave, folder_name, num_heads_interleaved
from duologue.hub.gguf_tokenizer import read_gguf_tokenizer
from duologue.hub.hashes import write_hashes
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import save_weights

KEPT_AS_THEY_ARE = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
REFUSED = ("expert_count", "rope.scaling.type", "attention.sliding_window")


def unpack_gguf(path: Path, folder: Path, *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Writes the model folder that a GGUF file stands for; quantised tensors become float32.

    Args:
        on_progress: told how many of how many tensors are done.

    Raises:
        ModelFolderError: it is damaged, or asks for something that is not done here exactly.
    """
    header = read_gguf_header(path)
    config = read_shape(header, where=path.name)
    tokenizer = read_gguf_tokenizer(header.metadata, where=path.name)
    tensors: dict[str, torch.Tensor] = {}
    for done, (name, tensor) in enumerate(_tensors(path, header, config), 1):
        tensors[name] = tensor
        if on_progress:
            on_progress(done, len(header.tensors))
    model = _assemble(config, tensors, where=path.name)
    save_weights(model, folder, tokenizer)
    tokenizer.save_pretrained(folder, max_length=config.max_position_embeddings)
    ends = {"eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    write_generation_config(folder, GenerationConfig(), **ends)
    (folder / "README.md").write_text(_card(path, header.metadata), encoding="utf-8")
    write_hashes(folder)


def read_shape(header: GgufHeader, *, where: str) -> TransformerConfig:
    """The shape that the file's settings state."""
    architecture = header.metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise ModelFolderError(f"{where}: general.architecture is {architecture!r}; expected one of {expected}")
    settings = {key.removeprefix(f"{architecture}."): value for key, value in header.metadata.items()}
    for key in REFUSED:
        if settings.get(key) not in (None, 0, "none"):
            raise ModelFolderError(f"{where}: {architecture}.{key} is {settings[key]!r}, which is not done here")
    shape = {ours: settings[key] for key, ours in SHAPE_KEYS.items() if key in settings}
    _check_shape(shape, where, architecture)
    heads = shape["num_attention_heads"]
    shape.setdefault("num_key_value_heads", heads)
    shape.setdefault("head_dim", shape["hidden_size"] // heads)
    turned = settings.get("rope.dimension_count", shape["head_dim"])
    if turned != shape["head_dim"]:
        found = f"{where}: {architecture}.rope.dimension_count is {turned} of {shape['head_dim']}"
        raise ModelFolderError(f"{found}; to turn only a part of each head is not done here")
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    return TransformerConfig(**shape, qk_norm=ARCHITECTURES[architecture], tie_word_embeddings=tied)


def _check_shape(shape: dict[str, Any], where: str, architecture: str) -> None:
    """Every number is there and a number; floats are the shortest that mean the same in 32 bits."""
    optional = {"num_key_value_heads", "head_dim", "rope_theta"}
    for key, ours in SHAPE_KEYS.items():
        value = shape.get(ours)
        if value is None and ours not in optional:
            raise ModelFolderError(f"{where}: lacks {architecture}.{key}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ModelFolderError(f"{where}: {architecture}.{key} is {type(value).__name__}; expected one number")
        if isinstance(value, float):
            shape[ours] = float(str(np.float32(value)))


def _tensors(path: Path, header: GgufHeader, config: TransformerConfig) -> Iterator[tuple[str, torch.Tensor]]:
    data = np.memmap(path, dtype=np.uint8, mode="r")
    for info in header.tensors:
        name = folder_name(info.name)
        tensor = _unpack(data[info.offset : info.offset + info.size_bytes], info)
        heads = num_heads_interleaved(name, config)
        yield name, deinterleave(tensor, heads) if heads else tensor


def _unpack(raw: np.ndarray, info: GgufTensor) -> torch.Tensor:
    """The numbers of a tensor."""
    if info.number_format in KEPT_AS_THEY_ARE:
        flat = torch.frombuffer(bytearray(raw.tobytes()), dtype=KEPT_AS_THEY_ARE[info.number_format])
        return flat.reshape(info.shape)
    kind = gguf.GGMLQuantizationType[info.number_format]
    try:
        numbers = gguf.dequantize(raw.reshape(*info.shape[:-1], -1), kind)
    except NotImplementedError:
        raise ModelFolderError(f"tensor {info.name}: is {info.number_format}, which cannot be unpacked") from None
    return torch.from_numpy(np.ascontiguousarray(numbers)).reshape(info.shape)


def _assemble(config: TransformerConfig, tensors: Mapping[str, torch.Tensor], *, where: str) -> Transformer:
    if "model.embed_tokens.weight" not in tensors:
        raise ModelFolderError(f"{where}: lacks the tensor token_embd.weight")
    with torch.device("meta"):
        model = Transformer(config, vocab_size=tensors["model.embed_tokens.weight"].shape[0])
    expected = model.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise ModelFolderError(f"{where}: lacks what is called {missing[0]} in a model folder")
    for name, tensor in tensors.items():
        if name not in expected or expected[name].shape != tensor.shape:
            wanted = list(expected[name].shape) if name in expected else "none"
            raise ModelFolderError(f"{where}: {name} has shape {list(tensor.shape)}; its settings ask for {wanted}")
    model.load_state_dict(dict(tensors), assign=True)
    return model


def _card(path: Path, metadata: Mapping[str, Any]) -> str:
    """What the file says of itself; what it does not say is not made up."""
    names = ("name", "organization", "license", "size_label")
    said = {name: _one_line(metadata.get(f"general.{name}")) for name in names}
    rows = "\n".join(f"| {name} | {value} |" for name, value in said.items() if value)
    unsaid = "The file does not say; ask the maker of the model."
    return f"""---
license: {said["license"] or "unknown"}
library_name: transformers
---
# {said["name"] or path.stem}

Unpacked from `{path.name}`; quantised tensors became float32 and are as exact as the file was.

| | |
|---|---|
{rows}

## Data

{unsaid}

## Training

{unsaid}

## Evaluation

{unsaid}

## Limits

{unsaid}
"""


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())[:200] if value is not None else ""
