"""The model folder: the Hugging Face folder of LlamaForCausalLM or Qwen3ForCausalLM, read and written.

``transformers`` and vLLM load what is written here as it is; a folder that ``transformers`` saved loads here. Anything
that the architecture in ``transformer/`` does not do is refused by name, never approximated.
"""

from __future__ import annotations

import json
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

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen3ForCausalLM": "qwen3"}
SHAPE_FIELDS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                "max_position_embeddings", "rms_norm_eps")  # fmt: skip


def save_weights(model: Transformer, folder: Path, tokenizer: Tokenizer) -> None:
    """Writes ``config.json`` and ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = config_to_json(model.config, vocab_size=model.vocab_size, dtype=model.output_weight.dtype)
    fields |= {"bos_token_id": None, "eos_token_id": tokenizer.end_of_turn_id, "pad_token_id": tokenizer.end_of_text_id}
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


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
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ModelFolderError(f"{path}: is not an object; expected a model's settings")
        return config_from_json(fields)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{path}: not valid JSON: {error}") from None
    except KeyError as error:
        raise ModelFolderError(f"{path}: lacks {error.args[0]}") from None
    except (ConfigError, TypeError) as error:
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
    architecture = (fields.get("architectures") or ["none"])[0]
    if architecture not in ARCHITECTURES:
        raise ModelFolderError(f"architecture is {architecture}; expected one of {', '.join(ARCHITECTURES)}")
    _refuse_unknown_parts(fields)
    rope = fields.get("rope_parameters") or {}
    hidden_size, heads = fields["hidden_size"], fields["num_attention_heads"]
    shape = {name: fields[name] for name in SHAPE_FIELDS} | {
        "num_key_value_heads": fields.get("num_key_value_heads") or heads,
        "head_dim": fields.get("head_dim") or hidden_size // heads,
        "rope_theta": rope.get("rope_theta") or fields.get("rope_theta") or 10_000.0,
        "qk_norm": architecture == "Qwen3ForCausalLM",
        "tie_word_embeddings": bool(fields.get("tie_word_embeddings", False)),
    }
    vocab_size = convert(fields["vocab_size"], int, where="vocab_size")
    return from_mapping(TransformerConfig, shape, where="shape:"), vocab_size


def _refuse_unknown_parts(fields: Mapping[str, Any]) -> None:
    scaling = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    refused = {
        "hidden_act": fields.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(fields.get("attention_bias")),
        "mlp_bias": bool(fields.get("mlp_bias")),
        "use_sliding_window": bool(fields.get("use_sliding_window")),
        "rope_scaling": scaling.get("rope_type", scaling.get("type", "default")) != "default",
        "auto_map": "auto_map" in fields,
    }
    for name, is_refused in refused.items():
        if is_refused:
            raise ModelFolderError(f"{name} is {fields.get(name)!r}, which this architecture does not do")


def _read_tensors(folder: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in set(file.keys()) & expected.keys():
                    shape = tuple(file.get_slice(name).get_shape())
                    if shape != expected[name]:
                        found = f"{path}: tensor {name} has shape {list(shape)}"
                        raise ModelFolderError(f"{found}; config.json asks for {list(expected[name])}")
                    tensors[name] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelFolderError(f"{path}: cannot be read: {error}; copy the folder again") from None
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ModelFolderError(f"{folder}: lacks the tensor {missing[0]}{more}; copy the folder again")
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelFolderError(f"{index}: is not an index of tensors; copy the folder again") from None
        files = [folder / Path(name).name for name in sorted(names)]
    else:
        files = [folder / "model.safetensors"]
    for path in files:
        if not path.is_file():
            raise ModelFolderError(f"{folder}: has no {path.name}; expected a model folder")
    return files
