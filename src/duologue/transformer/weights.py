"""The model folder: the Hugging Face folder of LlamaForCausalLM or Qwen3ForCausalLM, read and written.

``transformers`` and vLLM load what is written here as it is; a folder that ``transformers`` saved loads here. Anything
that the architecture in ``transformer/`` does not do is refused by name, never approximated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from duologue.config import convert, from_mapping
from duologue.errors import ConfigError, ModelFolderError
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.config import TransformerConfig
from duologue.transformer.model import Transformer
from duologue.transformer.strict_json import parse_object, shown

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen3ForCausalLM": "qwen3"}
SHAPE_FIELDS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                "max_position_embeddings", "rms_norm_eps")  # fmt: skip
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
IDLE = re.compile(r"lm_head\.weight|.*\.rotary_emb\.inv_freq")  # tied to the embedding, or worked out from the shape
NUMBER_FORMATS = ("F64", "F32", "F16", "BF16")  # in all others, a number means nothing without a scale


def save_weights(model: Transformer, folder: Path, tokenizer: Tokenizer) -> None:
    """Writes ``config.json`` and ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = config_to_json(model.config, vocab_size=model.vocab_size, dtype=model.output_weight.dtype)
    fields |= {"bos_token_id": None, "eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def load_transformer(folder: Path | str, *, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model of a folder, ready to run.

    Raises:
        ModelFolderError: a file or a tensor is missing, has the wrong shape, or asks for what is not done here.
    """
    folder = Path(folder)
    config, vocab_size = read_config(folder)
    with torch.device("meta"):
        model = Transformer(config, vocab_size=vocab_size)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = _read_tensors(folder, expected)
    model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
    return model.eval().requires_grad_(False)


def read_config(folder: Path) -> tuple[TransformerConfig, int]:
    """The shape and the vocabulary size that ``config.json`` states."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelFolderError(f"{folder}: has no config.json; expected a model folder")
    fields = parse_object(path.read_bytes(), where=str(path))
    try:
        return config_from_json(fields)
    except KeyError as error:
        raise ModelFolderError(f"{path}: lacks {error.args[0]}") from None
    except (ConfigError, ModelFolderError) as error:
        raise ModelFolderError(f"{path}: {error}") from None


def config_to_json(config: TransformerConfig, *, vocab_size: int, dtype: torch.dtype) -> dict[str, Any]:
    """The shape as ``config.json`` states it, in the words of both generations of ``transformers``."""
    architecture = "Qwen3ForCausalLM" if config.qk_norm else "LlamaForCausalLM"
    return {name: getattr(config, name) for name in SHAPE_FIELDS} | {
        "architectures": [architecture],
        "model_type": ARCHITECTURES[architecture],
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tie_word_embeddings,
        "vocab_size": vocab_size,
        "hidden_act": "silu",
        "attention_bias": False,
        "dtype": str(dtype).removeprefix("torch."),
    }


def config_from_json(fields: Mapping[str, Any]) -> tuple[TransformerConfig, int]:
    """The shape from ``config.json``; refuses what this architecture does not do."""
    architecture = _architecture(fields)
    _refuse_unknown_parts(fields)
    rope = _rope(fields, "rope_scaling") or _rope(fields, "rope_parameters")
    hidden_size, heads = (convert(fields[name], int, where=name) for name in ("hidden_size", "num_attention_heads"))
    shape = {name: fields[name] for name in SHAPE_FIELDS} | {
        "num_key_value_heads": fields.get("num_key_value_heads") or heads,
        "head_dim": fields.get("head_dim") or hidden_size // max(heads, 1),
        "rope_theta": rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0,
        "qk_norm": architecture == "Qwen3ForCausalLM",
        "tie_word_embeddings": bool(fields.get("tie_word_embeddings", False)),
    }
    vocab_size = convert(fields["vocab_size"], int, where="vocab_size")
    return from_mapping(TransformerConfig, shape, where="shape:"), vocab_size


def _architecture(fields: Mapping[str, Any]) -> str:
    named = fields.get("architectures")
    found = named[0] if isinstance(named, list) and named else named
    if not isinstance(found, str) or found not in ARCHITECTURES:
        raise ModelFolderError(f"architecture is {shown(found)}; expected one of {', '.join(ARCHITECTURES)}")
    return found


def _rope(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name) or {}
    if not isinstance(found, Mapping):
        raise ModelFolderError(f"{name} is {shown(found)}; expected an object")
    return found


def _refuse_unknown_parts(fields: Mapping[str, Any]) -> None:
    ropes = {name: _rope(fields, name) for name in ("rope_scaling", "rope_parameters")}
    refused = {
        "hidden_act": fields.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(fields.get("attention_bias")),
        "mlp_bias": bool(fields.get("mlp_bias")),
        "use_sliding_window": bool(fields.get("use_sliding_window")),
        "quantization_config": bool(fields.get("quantization_config")),
        "auto_map": "auto_map" in fields,
    }
    refused |= {name: rope.get("rope_type", rope.get("type", "default")) != "default" for name, rope in ropes.items()}
    for name, is_refused in refused.items():
        if is_refused:
            raise ModelFolderError(f"{name} is {shown(fields.get(name))}, which this architecture does not do")


def _read_tensors(folder: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in sorted(file.keys()):
                    if name in expected:
                        _require_fit(f"{path}: tensor {name}", file.get_slice(name), expected[name])
                        tensors[name] = file.get_tensor(name)
                    elif not IDLE.fullmatch(name):
                        found = f"{path}: holds the tensor {shown(name)}"
                        raise ModelFolderError(f"{found}, which the model of config.json has no place for")
        except (SafetensorError, OSError) as error:
            raise ModelFolderError(f"{path}: cannot be read: {error}; copy the folder again") from None
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ModelFolderError(f"{folder}: lacks the tensor {missing[0]}{more}; copy the folder again")
    return tensors


def _require_fit(where: str, stored: Any, expected: tuple[int, ...]) -> None:
    shape, number_format = tuple(stored.get_shape()), stored.get_dtype()
    if shape != expected:
        raise ModelFolderError(f"{where} has shape {list(shape)}; config.json asks for {list(expected)}")
    if number_format not in NUMBER_FORMATS:
        remedy = "take the model that it was made from"
        raise ModelFolderError(f"{where} is {number_format}; expected one of {', '.join(NUMBER_FORMATS)}; {remedy}")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, or those of its index, by name.

    Raises:
        ModelFolderError: the index is damaged, or a file is missing.
    """
    index = folder / INDEX
    files = [folder / name for name in _shards(index)] if index.is_file() else [folder / WEIGHTS]
    for path in files:
        if not path.is_file():
            raise ModelFolderError(f"{folder}: has no {path.name}; expected a model folder")
    return files


def _shards(index: Path) -> list[str]:
    places = parse_object(index.read_bytes(), where=str(index)).get("weight_map")
    names = list(places.values()) if isinstance(places, dict) else []
    if not names or not all(isinstance(name, str) and name and name == Path(name).name for name in names):
        raise ModelFolderError(f"{index}: is not an index of tensors; copy the folder again")
    return sorted(set(names))
