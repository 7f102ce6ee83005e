"""A GGUF file out, for llama.cpp and all that builds on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import gguf
import torch

from duologue.errors import ModelFolderError
from duologue.hub.gguf_names import SHAPE_KEYS, gguf_name, interleave, num_heads_interleaved
from duologue.hub.gguf_tokenizer import gguf_tokenizer_fields
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer

Precision = Literal["f32", "f16", "bf16", "q8_0"]
KINDS = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


def export_gguf(
    folder: Path, target: Path, precision: Precision, *, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Writes a model folder as one GGUF file, which appears whole.

    Matrices take the precision asked for; norms stay float32.

    Raises:
        ModelFolderError: llama.cpp would not give the same ids, or the precision does not divide a row.
    """
    tokenizer = Tokenizer.from_pretrained(folder)
    model = load_transformer(folder, dtype=torch.float32)
    partial = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        writer = gguf.GGUFWriter(partial, "qwen3" if model.config.qk_norm else "llama")
        _write_settings(writer, model, folder, precision)
        _write_tokenizer(writer, tokenizer, model.vocab_size)
        _write_tensors(writer, model, precision, on_progress)
        writer.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write_settings(writer: gguf.GGUFWriter, model: Transformer, folder: Path, precision: Precision) -> None:
    config = model.config
    writer.add_name(folder.resolve().parent.name if folder.name == "model" else folder.resolve().name)
    for key, ours in SHAPE_KEYS.items():
        value = getattr(config, ours)
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{writer.arch}.{key}", value)
    writer.add_uint32(f"{writer.arch}.attention.value_length", config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(model.vocab_size)
    writer.add_file_type(FILE_TYPES[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, num_embeddings: int) -> None:
    fields = gguf_tokenizer_fields(tokenizer, num_embeddings=num_embeddings)
    writer.add_tokenizer_model(fields["model"])
    writer.add_tokenizer_pre(fields["pre"])
    writer.add_token_list(fields["tokens"])
    writer.add_token_types(fields["token_type"])
    writer.add_token_merges(fields["merges"])
    writer.add_eos_token_id(tokenizer.end_of_turn_id)
    writer.add_pad_token_id(tokenizer.end_of_text_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(tokenizer.chat_template.jinja)


def _write_tensors(
    writer: gguf.GGUFWriter, model: Transformer, precision: Precision, on_progress: Callable[[int, int], None] | None
) -> None:
    tensors = model.state_dict()
    for done, (name, tensor) in enumerate(tensors.items(), 1):
        heads = num_heads_interleaved(name, model.config)
        kind = KINDS[precision] if tensor.ndim > 1 else KINDS["f32"]
        numbers = (interleave(tensor, heads) if heads else tensor).contiguous().numpy()
        block_size, _ = gguf.GGML_QUANT_SIZES[kind]
        if numbers.shape[-1] % block_size:
            found = f"{name}: rows of {numbers.shape[-1]} numbers; q8_0 takes multiples of {block_size}"
            raise ModelFolderError(f"{found}; export f16 instead")
        packed = gguf.quantize(numbers, kind)
        writer.add_tensor(gguf_name(name), packed, raw_dtype=kind)
        if on_progress:
            on_progress(done, len(tensors))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
