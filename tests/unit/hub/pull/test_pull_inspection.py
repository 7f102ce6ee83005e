"""What came is looked through before it becomes a model: nothing malicious or damaged is ever published."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duologue.errors import HubError, ModelFolderError
from duologue.hub.cache import pulled_model, pulled_models
from duologue.hub.pull import Pulled, pull

NAME = "hf:Someone/Small-Model"
INDEX = "model.safetensors.index.json"
SHARD = "model-00001-of-00002.safetensors"
Files = dict[str, bytes]


def get(name: str, **options: Any) -> Pulled:
    return pull(name, unpack_gguf=options.pop("unpack_gguf", None), **options)


def with_fields(name: str, **fields: Any) -> Callable[[Files], Files]:
    return lambda files: {name: json.dumps(json.loads(files[name]) | fields).encode()}


def cut(files: Files) -> Files:
    return {"model.safetensors": files["model.safetensors"][:-4]}


def without_a_shard(files: Files) -> Files:
    places = {"a": SHARD, "b": SHARD.replace("00001", "00002")}
    return {SHARD: files["model.safetensors"], INDEX: json.dumps({"weight_map": places}).encode()}


BOMB = "{% for a in messages|string %}" * 3 + "x" + "{% endfor %}" * 3
HARM: dict[str, tuple[Callable[[Files], Files], str]] = {
    "own program": (with_fields("config.json", auto_map={"AutoModel": "own.Model"}), "config.json: auto_map is"),
    "huge shape": (with_fields("config.json", num_hidden_layers=10**12), "config.json: num_hidden_layers is"),
    "template": (with_fields("tokenizer_config.json", chat_template=BOMB), "tokenizer_config.json: the chat template"),
    "no JSON": (lambda files: {"tokenizer.json": b"<html>"}, "tokenizer.json: is not a JSON object"),
    "a pickle": (lambda files: {"model.safetensors": pickle.dumps([7])}, "model.safetensors: is a Python pickle"),
    "cut weights": (cut, r"model\.safetensors: holds \d+ bytes"),
    "a shard that is missing": (without_a_shard, "model-00002-of-00002.safetensors', which is not in the folder"),
}


@pytest.mark.parametrize("name", HARM)
def test_what_a_hub_states_with_right_checksums_may_still_be_no_model(huggingface: Any, home: Path, name: str) -> None:
    change, message = HARM[name]
    changed = change(huggingface.files)
    if INDEX in changed:
        del huggingface.files["model.safetensors"]
    huggingface.files |= changed
    with pytest.raises(HubError, match=message) as caught:
        get(NAME)
    assert pulled_model(NAME) is None
    assert pulled_models() == []
    assert str(home) not in str(caught.value)


def test_the_old_model_stays_and_the_repaired_one_comes(huggingface: Any) -> None:
    first = get(NAME)
    good = huggingface.files["config.json"]
    huggingface.files |= with_fields("config.json", auto_map={"AutoModel": "own.Model"})(huggingface.files)
    with pytest.raises(HubError, match="auto_map"):
        get(NAME, force=True)
    assert get(NAME) == first
    huggingface.files["config.json"] = good
    assert get(NAME, force=True).sha256 == first.sha256


def test_where_one_hub_has_a_malicious_model_the_other_one_helps(
    huggingface: Any, modelscope: Any, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOLOGUE_SOURCE", "ms")
    modelscope.files |= with_fields("tokenizer_config.json", chat_template=BOMB)(modelscope.files)
    pulled = get(small)
    assert pulled.source.startswith("hf:")
    tokenizer_config = (pulled.path / "tokenizer_config.json").read_bytes()
    assert tokenizer_config == huggingface.files["tokenizer_config.json"]


def test_leftovers_that_are_no_files_do_not_matter(huggingface: Any, home: Path) -> None:
    partial = home / "models" / ".hf--Someone--Small-Model.partial"
    (partial / "sub" / "deep").mkdir(parents=True)
    (partial / "stray").symlink_to("/etc")
    assert not {"stray", "sub"} & {path.name for path in get(NAME).path.iterdir()}


def test_a_gguf_file_that_is_none_is_told_before_it_is_unpacked(tmp_path: Path) -> None:
    def unpack(file: Path, folder: Path) -> None:
        raise AssertionError("unpacked")

    (tmp_path / "model.gguf").write_bytes(pickle.dumps([7]))
    with pytest.raises(ModelFolderError, match=r"model\.gguf: is a Python pickle"):
        get("gguf:model.gguf", unpack_gguf=unpack)


def test_what_is_unpacked_is_looked_through_too(tmp_path: Path) -> None:
    def unpack(file: Path, folder: Path) -> None:
        (folder / "config.json").write_text('{"auto_map": {"AutoModel": "own.Model"}}')
        (folder / "model.safetensors").write_bytes(b"weights")

    (tmp_path / "model.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    with pytest.raises(ModelFolderError, match=r"^config\.json: auto_map is"):
        get("gguf:model.gguf", unpack_gguf=unpack)
    assert pulled_model("gguf:model") is None


def test_a_folder_of_the_users_own_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"auto_map": {"AutoModel": "own.Model"}}')
    with pytest.raises(ModelFolderError, match="auto_map"):
        get("mine")
