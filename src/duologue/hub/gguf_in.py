"""A GGUF file in: its weights, tokenizer, template and settings as a model folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from duologue.errors import ConfigError, ModelFolderError
from duologue.generation.config import GenerationConfig, write_generation_config
from duologue.hub.gguf_header import GgufHeader, GgufTensor, read_gguf_header
from duologue.hub.gguf_names import ARCHITECTURES, SHAPE_KEYS, deinterleave, folder_name, num_heads_interleaved
from duologue.hub.gguf_tokenizer import read_gguf_tokenizer
from duologue.hub.hashes import write_hashes
from duologue.hub.inspection import LARGEST
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.strict_json import shown
from duologue.transformer.weights import save_weights

KEPT_AS_THEY_ARE = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# What changes the numbers that come out, and its values that change nothing. A factor without a type means linear.
IDLE = {
    "expert_count": (0,), "attention.sliding_window": (0,), "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0, 1), "rope.scale_linear": (0, 1),
}  # fmt: skip
REMEDY = "take the model as safetensors, or as GGUF in F16 or Q8_0"


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
    model = _empty_model(config, header, where=path.name)
    if tokenizer.vocab_size > model.vocab_size:
        found = f"{path.name}: holds {tokenizer.vocab_size} tokens, and embeddings of {model.vocab_size}"
        raise ModelFolderError(f"{found}; {REMEDY}")
    tensors = {}
    for done, (name, info) in enumerate(_stored(model, header, where=path.name).items(), 1):
        tensors[name] = _tensor(path, info, num_heads_interleaved(name, config))
        if on_progress:
            on_progress(done, len(header.tensors))
    model.load_state_dict(tensors, assign=True)
    save_weights(model, folder, tokenizer)
    tokenizer.save_pretrained(folder, max_length=config.max_position_embeddings)
    ends = {"eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    write_generation_config(folder, GenerationConfig(), **ends)
    (folder / "README.md").write_text(_card(path, header.metadata), encoding="utf-8")
    write_hashes(folder)


def read_shape(header: GgufHeader, *, where: str) -> TransformerConfig:
    """The shape that the file's settings state."""
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        expected = ", ".join(ARCHITECTURES)
        raise ModelFolderError(f"{where}: general.architecture is {shown(architecture)}; expected one of {expected}")
    settings = {key.removeprefix(f"{architecture}."): value for key, value in header.metadata.items()}
    for key, idle in IDLE.items():
        if key in settings and settings[key] not in idle:
            raise ModelFolderError(f"{where}: {architecture}.{key} is {shown(settings[key])}, which is not done here")
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
    try:
        return TransformerConfig(**shape, qk_norm=ARCHITECTURES[architecture], tie_word_embeddings=tied)
    except ConfigError as error:
        raise ModelFolderError(f"{where}: {error}; {REMEDY}") from None


def _check_shape(shape: dict[str, Any], where: str, architecture: str) -> None:
    """Every number is there and makes sense; floats are the shortest that mean the same in 32 bits."""
    optional = {"num_key_value_heads", "head_dim", "rope_theta"}
    for key, ours in SHAPE_KEYS.items():
        name, value = f"{where}: {architecture}.{key}", shape.get(ours)
        if value is None and ours in optional:
            continue
        if value is None:
            raise ModelFolderError(f"{where}: lacks {architecture}.{key}")
        if ours not in LARGEST:
            shape[ours] = _positive(value, name)
        elif not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST[ours]:
            raise ModelFolderError(f"{name} is {shown(value)}; expected a whole number from 1 to {LARGEST[ours]}")


def _positive(value: object, name: str) -> float:
    if not isinstance(value, float) or not 0 < value < math.inf:
        raise ModelFolderError(f"{name} is {shown(value)}; expected a number above 0")
    return float(str(np.float32(value)))


def _empty_model(config: TransformerConfig, header: GgufHeader, *, where: str) -> Transformer:
    """A model of that shape without numbers."""
    rows = next((tensor.shape[0] for tensor in header.tensors if tensor.name == "token_embd.weight"), None)
    if rows is None:
        raise ModelFolderError(f"{where}: lacks the tensor token_embd.weight")
    with torch.device("meta"):
        return Transformer(config, vocab_size=rows)


def _stored(model: Transformer, header: GgufHeader, *, where: str) -> dict[str, GgufTensor]:
    """For each tensor of the model, where it lies in the file; nothing has been read yet."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    stored: dict[str, GgufTensor] = {}
    for info in header.tensors:
        name = folder_name(info.name)
        if info.shape != expected.get(name):
            wanted = list(expected[name]) if name in expected else "none"
            raise ModelFolderError(f"{where}: {info.name} has shape {list(info.shape)}; its settings ask for {wanted}")
        stored[name] = info
    missing = sorted(expected.keys() - stored.keys())
    if missing:
        raise ModelFolderError(f"{where}: lacks what is called {missing[0]} in a model folder")
    return stored


def _tensor(path: Path, info: GgufTensor, num_heads: int) -> torch.Tensor:
    """The numbers of a tensor, the rows of its heads in our order."""
    raw = np.memmap(path, dtype=np.uint8, mode="r", offset=info.offset, shape=(info.size_bytes,))
    if info.number_format in KEPT_AS_THEY_ARE:
        tensor = torch.frombuffer(bytearray(raw), dtype=KEPT_AS_THEY_ARE[info.number_format])
    else:
        tensor = torch.from_numpy(np.ascontiguousarray(_dequantised(raw, info, where=path.name)))
    tensor = tensor.reshape(info.shape)
    return deinterleave(tensor, num_heads) if num_heads else tensor


def _dequantised(raw: np.ndarray, info: GgufTensor, *, where: str) -> np.ndarray:
    kind = gguf.GGMLQuantizationType[info.number_format]
    try:
        return gguf.dequantize(raw.reshape(*info.shape[:-1], -1), kind)
    except NotImplementedError:
        found = f"{where}: the tensor {info.name} is {info.number_format}, which is not read here"
        raise ModelFolderError(f"{found}; {REMEDY}") from None


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
