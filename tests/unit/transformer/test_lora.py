"""LoRA: it begins as the model it is added to, merges into a plain one, and PEFT reads what is saved apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from duologue.config import from_mapping
from duologue.errors import ConfigError
from duologue.transformer.attention import document_mask, masked_attention
from duologue.transformer.lora import add_lora, is_factor, merge_lora, save_adapter
from duologue.transformer.lora_config import MODULES, LoRAConfig
from duologue.transformer.model import Transformer
from duologue.transformer.weights import load_transformer, save_weights

ALL = LoRAConfig(rank=4, alpha=8)
TWO = LoRAConfig(rank=4, alpha=8, targets=("v_proj", "q_proj"))


def logits_of(model: Transformer, input_ids: Tensor) -> Tensor:
    places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    attend = masked_attention(document_mask(torch.zeros_like(input_ids), torch.float32))
    with torch.no_grad():
        return model.logits(model.hidden(input_ids, places, attend))


def learned(model: Transformer, config: LoRAConfig) -> Transformer:
    """A model with factors that are not zero, as after training."""
    add_lora(model, config, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_factor(name):
                weight.normal_(std=0.2)
    return model


@pytest.fixture
def input_ids(tiny_model: Transformer) -> Tensor:
    return torch.randint(0, tiny_model.vocab_size, (2, 30), generator=torch.Generator().manual_seed(3))


def test_rank_zero_leaves_the_model_as_it_is(tiny_model: Transformer) -> None:
    names = list(tiny_model.state_dict())
    assert add_lora(tiny_model, LoRAConfig(), seed=0) is tiny_model
    assert list(tiny_model.state_dict()) == names
    assert all(weight.requires_grad for weight in tiny_model.parameters())


@pytest.mark.parametrize("config", [ALL, TWO], ids=["all", "two"])
def test_it_begins_as_the_model_and_only_the_factors_learn(
    tiny_model: Transformer, input_ids: Tensor, config: LoRAConfig
) -> None:
    before, frozen = logits_of(tiny_model, input_ids), set(tiny_model.state_dict())
    add_lora(tiny_model, config, seed=0)
    assert torch.equal(logits_of(tiny_model, input_ids), before)
    trained = {name for name, weight in tiny_model.named_parameters() if weight.requires_grad}
    assert trained == set(tiny_model.state_dict()) - frozen
    assert len(trained) == 2 * len(config.modules) * tiny_model.config.num_hidden_layers
    for name, weight in tiny_model.named_parameters():
        if name.endswith("lora_A.weight"):
            assert weight.shape[0] == 4
            assert 0.5 < weight.std() * weight.shape[1] ** 0.5 < 1.5


def test_the_seed_draws_the_factors(tiny_model: Transformer) -> None:
    names = ("self_attn.q_proj.lora_A.weight", "self_attn.k_proj.lora_A.weight")
    drawn = [
        [add_lora(load_like(tiny_model), ALL, seed=seed).state_dict()[f"model.layers.0.{name}"] for name in names]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][0], drawn[2][0])
    assert not torch.equal(drawn[0][0], drawn[0][1])


def load_like(model: Transformer) -> Transformer:
    copied = Transformer(model.config, vocab_size=model.vocab_size)
    copied.load_state_dict(model.state_dict())
    return copied


@pytest.mark.parametrize("config", [ALL, TWO], ids=["all", "two"])
def test_merged_is_plain_and_says_the_same(tiny_model: Transformer, input_ids: Tensor, config: LoRAConfig) -> None:
    plain, names = logits_of(tiny_model, input_ids), list(tiny_model.state_dict())
    unmerged = logits_of(learned(tiny_model, config), input_ids)
    assert (unmerged - plain).abs().max() > 0.1
    merged = merge_lora(tiny_model)
    assert list(merged.state_dict()) == names
    torch.testing.assert_close(logits_of(merged, input_ids), unmerged, atol=1e-5, rtol=1e-5)


def test_the_product_is_added_in_float32(tiny_model: Transformer) -> None:
    layer = learned(tiny_model.to(torch.bfloat16), ALL).model.layers[0].mlp.up_proj
    exact = layer.weight.float() + 2.0 * layer.lora_B.weight.float() @ layer.lora_A.weight.float()
    assert torch.equal(layer.merged().weight, exact.to(torch.bfloat16))


def test_the_adapter_has_the_names_of_peft(tmp_path: Path, tiny_model: Transformer) -> None:
    save_adapter(learned(tiny_model, TWO), tmp_path, TWO, base="runs/base")
    fields = json.loads((tmp_path / "adapter_config.json").read_text())
    expected = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "runs/base"}
    assert expected.items() <= fields.items()
    assert fields["target_modules"] == ["q_proj", "v_proj"]
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
    assert tensors[name].shape == (4, 32)
    assert len(tensors) == 8


@pytest.mark.parametrize("config", [ALL, TWO], ids=["all", "two"])
@pytest.mark.parametrize("merging", ["ours", "theirs"])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about names in transformers
def test_peft_loads_the_adapter_and_says_the_same(
    tmp_path: Path, model_folder: Path, tokenizer, input_ids: Tensor, config: LoRAConfig, merging: str
) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = learned(load_transformer(model_folder), config)
    save_adapter(model, tmp_path / "adapter", config, base=str(model_folder))
    save_weights(merge_lora(model), tmp_path / "merged", tokenizer)
    merged = logits_of(load_transformer(tmp_path / "merged"), input_ids)
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    if merging == "theirs":
        theirs = theirs.merge_and_unload()
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids).logits, merged, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": -1}, "rank: is -1; expected at least 0"),
        ({"alpha": 0}, "alpha: is 0; expected more than 0"),
        ({"targets": []}, r"targets: is \[\]; expected all, or some of q_proj"),
        ({"targets": ["qproj"]}, r"targets: is \['qproj'\]; expected a list, each one of all, q_proj"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(LoRAConfig, values, where="[lora]")


def test_all_means_every_matrix_of_a_block(tiny_model: Transformer) -> None:
    layers = dict(tiny_model.model.layers[0].named_modules())
    assert {name.split(".")[-1] for name in layers if name.endswith("_proj")} == set(MODULES) == set(ALL.modules)
