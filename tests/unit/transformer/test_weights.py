"""Model folders that cannot be used are refused in one line that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from duologue.errors import ModelFolderError
from duologue.transformer.weights import load_transformer


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes config.json in place."""
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_a_missing_tensor_is_named(model_folder: Path) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model_folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"lacks the tensor model\.layers\.1\.mlp\.up_proj\.weight;"):
        load_transformer(model_folder)


def test_a_tensor_of_wrong_shape_is_named(model_folder: Path) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(7)
    save_file(tensors, model_folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"model\.norm\.weight has shape \[7\]; config\.json asks for \[32\]"):
        load_transformer(model_folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(model_folder: Path, missing: str) -> None:
    (model_folder / missing).unlink()
    with pytest.raises(ModelFolderError, match=f"has no {missing}"):
        load_transformer(model_folder)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_weights_cut_short_are_refused(model_folder: Path, keep: int) -> None:
    path = model_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFolderError, match="cannot be read"):
        load_transformer(model_folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architectures", ["GPT2LMHeadModel"]),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("use_sliding_window", True),
        ("rope_scaling", {"rope_type": "yarn", "factor": 4.0}),
        ("auto_map", {"AutoModel": "x.Y"}),
        ("hidden_size", "wide"),
        ("num_hidden_layers", 0),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(model_folder: Path, field: str, value: object) -> None:
    edit_config(model_folder, lambda fields: fields.update({field: value}))
    with pytest.raises(ModelFolderError, match=field.removesuffix("s")):
        load_transformer(model_folder)


def test_a_missing_field_is_named(model_folder: Path) -> None:
    edit_config(model_folder, lambda fields: fields.pop("hidden_size"))
    with pytest.raises(ModelFolderError, match="lacks hidden_size"):
        load_transformer(model_folder)


def test_config_that_is_no_json_is_refused(model_folder: Path) -> None:
    (model_folder / "config.json").write_text("{")
    with pytest.raises(ModelFolderError, match="not valid JSON"):
        load_transformer(model_folder)
