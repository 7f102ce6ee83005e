"""GGUF out and in again: the same weights, ids and template; and transformers reads the same numbers from the file."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from duologue.conversation import Conversation
from duologue.errors import ModelFolderError
from duologue.hub.gguf_header import read_gguf_header
from duologue.hub.gguf_in import unpack_gguf
from duologue.hub.gguf_out import Precision, export_gguf
from duologue.hub.inspection import inspect_model
from duologue.tokenizer.encode_conversation import encode_prompt
from duologue.tokenizer.tokenizer import Tokenizer
from duologue.transformer.attention import document_attention
from duologue.transformer.config import TransformerConfig
from duologue.transformer.weights import load_transformer

QWEN3 = TransformerConfig(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=128,
    intermediate_size=96, max_position_embeddings=128, rope_theta=1e6,
)  # fmt: skip  # a head of 128, since transformers takes every Qwen3 file's for that
LLAMA = dataclasses.replace(QWEN3, qk_norm=False, head_dim=16, rope_theta=10_000.0, rms_norm_eps=1e-5)
UNTIED = dataclasses.replace(LLAMA, tie_word_embeddings=False, num_key_value_heads=4)
SHAPES = pytest.mark.parametrize("shape", [QWEN3, LLAMA, UNTIED], ids=["qwen3", "llama", "untied"])
PROBE = "Hello, 12 + 30? 你好，今天天气怎么样？🙂"

pytestmark = pytest.mark.usefixtures("one_thread")
WriteModel = Callable[..., Path]


def logits(folder: Path) -> torch.Tensor:
    model = load_transformer(folder)
    input_ids = torch.tensor([Tokenizer.from_pretrained(folder).encode(PROBE)])
    places = torch.arange(input_ids.shape[1])[None]
    return model.logits(model.hidden(input_ids, places, document_attention(torch.ones_like(input_ids))))


@SHAPES
def test_out_and_in_again_is_the_same_model(tmp_path: Path, write_model: WriteModel, shape: TransformerConfig) -> None:
    folder = write_model(tmp_path / "model", shape, extra_vocabulary=3)
    export_gguf(folder, tmp_path / "model.gguf", "f32")
    unpack_gguf(tmp_path / "model.gguf", tmp_path / "again")
    first, second = load_transformer(folder), load_transformer(tmp_path / "again")
    assert first.config == second.config
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    before, after = Tokenizer.from_pretrained(folder), Tokenizer.from_pretrained(tmp_path / "again")
    row = Conversation.of(PROBE, "Fine <|im_end|>\n", "再见", system=" x")
    assert encode_prompt(before, row) == encode_prompt(after, row)
    assert before.chat_template == after.chat_template
    assert before.control_ids == after.control_ids


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16", "q8_0"])
@SHAPES
def test_transformers_reads_the_same_numbers(
    tmp_path: Path, write_model: WriteModel, shape: TransformerConfig, precision: Precision
) -> None:
    folder = write_model(tmp_path / "model", shape)
    export_gguf(folder, tmp_path / "model.gguf", precision)
    unpack_gguf(tmp_path / "model.gguf", tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    input_ids = torch.tensor([Tokenizer.from_pretrained(folder).encode(PROBE)])
    with torch.inference_mode():
        expected = theirs.eval()(input_ids).logits
    assert (logits(tmp_path / "ours") - expected).abs().max() <= 1e-4
    loss_of_precision = {"f32": 1e-5, "f16": 1e-2, "bf16": 0.1, "q8_0": 0.1}[precision]
    assert (logits(folder) - expected).abs().max() <= loss_of_precision


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_each_number_format_is_unpacked(tmp_path: Path, write_model: WriteModel, kind: str) -> None:
    folder = write_model(tmp_path / "model", LLAMA)
    export_gguf(folder, tmp_path / "plain.gguf", "f32")
    packed = tmp_path / "packed.gguf"
    repack(tmp_path / "plain.gguf", packed, gguf.GGMLQuantizationType[kind])
    assert kind in {tensor.number_format for tensor in read_gguf_header(packed).tensors}
    unpack_gguf(packed, tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="packed.gguf", dtype=torch.float32)
    expected = dict(theirs.state_dict())
    for name, tensor in load_transformer(tmp_path / "ours").state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def repack(source: Path, target: Path, kind: gguf.GGMLQuantizationType) -> None:
    """The same file with its matrices in another number format."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            element = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        numbers = np.array(tensor.data)
        as_kind = kind if numbers.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, gguf.quantize(numbers, as_kind), raw_dtype=as_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"general.architecture": "mamba"}, "general.architecture is 'mamba'"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model is 'llama'"),
        ({"tokenizer.ggml.pre": "deepseek-llm"}, "tokenizer.ggml.pre is 'deepseek-llm'"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type is 'yarn'"),
        ({"llama.expert_count": 8}, "expert_count is 8"),
        ({"llama.rope.dimension_count": 8}, "rope.dimension_count is 8 of 16"),
        ({"llama.embedding_length": 32}, "settings ask for"),
        ({"tokenizer.ggml.add_bos_token": True}, "add_bos_token"),
        ({"tokenizer.chat_template": "{{ messages[0].content }}"}, "not approximated"),
        ({"general.architecture": ["llama"]}, "general.architecture is ['llama']"),
        ({"tokenizer.ggml.pre": ["smollm"]}, "tokenizer.ggml.pre is ['smollm']"),
        ({"tokenizer.ggml.merges": ["nowhere to"]}, "merges do not fit the tokens: "),
        ({"tokenizer.ggml.token_type": [1, 1]}, "token_type has 2 entries; expected one for each token"),
        ({"tokenizer.ggml.token_type": 3}, "token_type has 3; expected one for each token"),
        ({"llama.rope.scaling.factor": 4.0}, "rope.scaling.factor is 4.0"),
        ({"llama.rope.scale_linear": 2.0}, "rope.scale_linear is 2.0"),
        ({"llama.block_count": 10**9}, "block_count is 1000000000; expected a whole number from 1 to 1024"),
        ({"llama.block_count": 2.5}, "block_count is 2.5; expected a whole number"),
        ({"llama.block_count": [2]}, "block_count is [2]; expected a whole number"),
        ({"llama.attention.head_count": 0}, "attention.head_count is 0; expected a whole number"),
        ({"llama.attention.head_count_kv": 3}, "num_key_value_heads: is 3; expected a divisor"),
        ({"llama.attention.layer_norm_rms_epsilon": math.nan}, "epsilon is nan; expected a number above 0"),
        ({"llama.rope.freq_base": math.inf}, "freq_base is inf; expected a number above 0"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_by_name(
    tmp_path: Path, write_model: WriteModel, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], complaint: str
) -> None:
    folder = write_model(tmp_path / "model", LLAMA)
    export_gguf(folder, tmp_path / "model.gguf", "f32")

    def changed(path: Path) -> object:
        header = read_gguf_header(path)
        return dataclasses.replace(header, metadata={**header.metadata, **change})

    monkeypatch.setattr("duologue.hub.gguf_in.read_gguf_header", changed)
    with pytest.raises(ModelFolderError, match=re.escape(complaint)):
        unpack_gguf(tmp_path / "model.gguf", tmp_path / "again")


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("blk.0.attn_q.weight", {"shape": (4, 16, 64)}, "blk.0.attn_q.weight has shape [4, 16, 64]; its settings ask"),
        ("blk.0.attn_q.weight", {"shape": (63, 64)}, "blk.0.attn_q.weight has shape [63, 64]; its settings ask"),
        ("blk.0.attn_q.weight", {"name": "blk.00.attn_q.weight"}, "tensor blk.00.attn_q.weight: this architecture has"),
        ("blk.0.attn_q.weight", {"name": "blk.7.attn_q.weight"}, "blk.7.attn_q.weight has shape [64, 64]; its"),
        ("blk.0.attn_q.weight", {"name": "rope_freqs.weight"}, "tensor rope_freqs.weight: this architecture has none"),
        ("token_embd.weight", {"name": "blk.9.ffn_up.weight"}, "lacks the tensor token_embd.weight"),
        ("token_embd.weight", {"shape": (7, 64)}, "tokens, and embeddings of 7"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_by_name(
    tmp_path: Path,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: dict[str, object],
    complaint: str,
) -> None:
    export_gguf(write_model(tmp_path / "model", LLAMA), tmp_path / "model.gguf", "f32")
    header = read_gguf_header(tmp_path / "model.gguf")
    tensors = [dataclasses.replace(tensor, **(change if tensor.name == name else {})) for tensor in header.tensors]
    changed = dataclasses.replace(header, tensors=tuple(tensors))
    monkeypatch.setattr("duologue.hub.gguf_in.read_gguf_header", lambda path: changed)
    with pytest.raises(ModelFolderError, match=re.escape(complaint)):
        unpack_gguf(tmp_path / "model.gguf", tmp_path / "again")


def test_a_token_that_stands_for_no_bytes_is_refused(
    tmp_path: Path, write_model: WriteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_gguf(write_model(tmp_path / "model", LLAMA, extra_vocabulary=1), tmp_path / "model.gguf", "f32")
    header = read_gguf_header(tmp_path / "model.gguf")
    tokens = [*header.metadata["tokenizer.ggml.tokens"][:-1], "好"]
    changed = dataclasses.replace(header, metadata={**header.metadata, "tokenizer.ggml.tokens": tokens})
    monkeypatch.setattr("duologue.hub.gguf_in.read_gguf_header", lambda path: changed)
    with pytest.raises(ModelFolderError, match="tokens holds one with '好'"):
        unpack_gguf(tmp_path / "model.gguf", tmp_path / "again")


def test_a_file_with_several_templates_passes_and_each_is_looked_at(tmp_path: Path, write_model: WriteModel) -> None:
    export_gguf(write_model(tmp_path / "model", LLAMA), tmp_path / "model.gguf", "f32")
    for harmful, source in ((False, "{{ messages[0].content }}"), (True, "{{ lipsum() }}")):
        writer = gguf.GGUFWriter(tmp_path / "several.gguf", "llama")
        writer.add_chat_template([{"name": "default", "template": "{{ 'a' }}"}, {"name": "tools", "template": source}])
        for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.close):
            step()
        assert read_gguf_header(tmp_path / "several.gguf").metadata["tokenizer.chat_templates"] == ["tools"]
        with pytest.raises(ModelFolderError, match="lipsum") if harmful else contextlib.nullcontext():
            inspect_model(tmp_path / "several.gguf")


def test_a_row_that_blocks_do_not_divide_is_refused(tmp_path: Path, write_model: WriteModel) -> None:
    folder = write_model(tmp_path / "model", dataclasses.replace(LLAMA, hidden_size=48))
    with pytest.raises(ModelFolderError, match="rows of 48 numbers"):
        export_gguf(folder, tmp_path / "model.gguf", "q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_split_without_a_name_in_llama_cpp_is_refused(tmp_path: Path, write_model: WriteModel) -> None:
    folder = write_model(tmp_path / "model", LLAMA)
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace(r"\\s+(?!\\S)|", ""))
    with pytest.raises(ModelFolderError, match=r"llama\.cpp has no name"):
        export_gguf(folder, tmp_path / "model.gguf", "f16")
