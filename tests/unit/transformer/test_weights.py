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
from duologue.transformer.weights import load_transformer, weight_files


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes config.json in place."""
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_missing_tensor_is_named(model_folder: Path) -> None:
    edit_tensors(model_folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelFolderError, match=r"lacks the tensor model\.layers\.1\.mlp\.up_proj\.weight;"):
        load_transformer(model_folder)


def test_a_tensor_of_wrong_shape_is_named(model_folder: Path) -> None:
    edit_tensors(model_folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(7)}))
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
        ("num_attention_heads", 0),
        ("hidden_size", [32]),
        ("architectures", {"a": "b"}),
        ("architectures", [["LlamaForCausalLM"]]),
        ("rope_parameters", 5),
        ("rope_parameters", {"rope_type": "llama3"}),
        ("rope_scaling", "linear"),
        ("quantization_config", {"quant_method": "fp8"}),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(model_folder: Path, field: str, value: object) -> None:
    edit_config(model_folder, lambda fields: fields.update({field: value}))
    if field == "num_attention_heads":
        edit_config(model_folder, lambda fields: fields.pop("head_dim", None))
    with pytest.raises(ModelFolderError, match=rf"config\.json: .*{field.removesuffix('s')}"):
        load_transformer(model_folder)


def test_each_of_two_ropes_is_looked_at(model_folder: Path) -> None:
    ropes = {"rope_scaling": {"rope_type": "default"}, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}
    edit_config(model_folder, lambda fields: fields.update(ropes))
    with pytest.raises(ModelFolderError, match="rope_parameters is"):
        load_transformer(model_folder)


def test_a_key_that_stands_twice_is_refused(model_folder: Path) -> None:
    path = model_folder / "config.json"
    path.write_text(path.read_text().rstrip().removesuffix("}") + ', "hidden_act": "silu"}')
    with pytest.raises(ModelFolderError, match=r"config\.json: .*'hidden_act' stands twice"):
        load_transformer(model_folder)


def test_a_tensor_without_a_place_is_refused(model_folder: Path) -> None:
    bias = {"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}
    edit_tensors(model_folder, lambda tensors: tensors.update(bias))
    with pytest.raises(ModelFolderError, match=r"holds the tensor 'model\.layers\.0\.self_attn\.q_proj\.bias', which"):
        load_transformer(model_folder)


def test_tensors_that_say_nothing_new_are_passed_over(model_folder: Path) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    before = load_transformer(model_folder).state_dict()
    idle = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone(),
            "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}  # fmt: skip
    save_file(tensors | idle, model_folder / "model.safetensors")
    after = load_transformer(model_folder).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_numbers_that_mean_nothing_without_a_scale_are_refused(model_folder: Path, dtype: torch.dtype) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    edit_tensors(model_folder, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(ModelFolderError, match=r"up_proj\.weight is (I8|F8_E4M3); expected one of F64, F32"):
        load_transformer(model_folder)


def test_shards_are_read_by_their_index(model_folder: Path) -> None:
    whole = load_transformer(model_folder).state_dict()
    tensors = load_file(model_folder / "model.safetensors")
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    places = {name: names[number % 2] for number, name in enumerate(sorted(tensors))}
    for file in names:
        save_file({name: tensors[name] for name in places if places[name] == file}, model_folder / file)
    (model_folder / "model.safetensors").unlink()
    (model_folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert weight_files(model_folder) == [model_folder / name for name in names]
    found = load_transformer(model_folder).state_dict()
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    (model_folder / names[1]).unlink()
    with pytest.raises(ModelFolderError, match=f"has no {names[1]}"):
        load_transformer(model_folder)


@pytest.mark.parametrize(
    "index",
    [
        "[]", "{", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 5, "b": "c"}}', '{"weight_map": {"a": ""}}',
        '{"weight_map": {"a": "../model.safetensors"}}',
    ],
)  # fmt: skip
def test_a_damaged_index_is_refused(model_folder: Path, index: str) -> None:
    (model_folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelFolderError, match=r"index\.json"):
        load_transformer(model_folder)


def test_a_missing_field_is_named(model_folder: Path) -> None:
    edit_config(model_folder, lambda fields: fields.pop("hidden_size"))
    with pytest.raises(ModelFolderError, match="lacks hidden_size"):
        load_transformer(model_folder)


def test_config_that_is_no_json_is_refused(model_folder: Path) -> None:
    (model_folder / "config.json").write_text("{")
    with pytest.raises(ModelFolderError, match="not valid JSON"):
        load_transformer(model_folder)
