"""Model files that try to harm are refused: quickly, in little memory, before torch is loaded, with the safe way named.

All of them are looked at in one process that times each and watches its own peak memory. Whatever of them ran would
leave a canary file.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import pickle
import re
import socket
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from duologue.errors import DataError, DuologueError, ModelFolderError
from duologue.hub.gguf_header import read_gguf_header
from duologue.hub.inspection import inspect_model
from duologue.hub.resolve import resolve_model
from duologue.tokenizer.template_guard import check_template, render_template
from duologue.transformer.safetensors_header import read_safetensors_header

SOURCE = Path(__file__).parents[2] / "src"
SECONDS, MEGABYTES = 2.0, 200.0
SAFE_WAY = "expected|ask for|take the|put a copy|unpack it|fetch|name the model folder|no model's file needs"
INSPECTOR = """
import json, os, resource, signal, sys, time
from pathlib import Path

# A process that was started keeps the peak of the one that started it; a fork begins anew.
if child := os.fork():
    sys.exit(os.waitpid(child, 0)[1])

from duologue.errors import ModelFolderError
from duologue.hub.inspection import inspect_model

def hangs(*_):
    raise TimeoutError

signal.signal(signal.SIGALRM, hangs)
for path in json.load(sys.stdin):
    signal.alarm(30)
    begin = time.perf_counter()
    try:
        inspect_model(Path(path))
        kind, message = "passed", ""
    except Exception as error:
        kind, message = ("refused" if isinstance(error, ModelFolderError) else type(error).__name__), str(error)
    seconds = time.perf_counter() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    found = {"kind": kind, "message": message, "seconds": seconds, "peak_mb": peak_mb, "torch": "torch" in sys.modules}
    print(json.dumps(found), flush=True)
"""
Make = Callable[[Path, Path], object]


# ---- What harmless files are made of ----

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "vocab_size": 3,
}  # fmt: skip
TOKENIZER = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}
TEMPLATE = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
TENSORS = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


def safetensors(header: Mapping[str, Any] | str | bytes, *, body: int = 32, length: int | None = None) -> bytes:
    text = header if isinstance(header, str | bytes) else json.dumps(header)
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(body)


def with_tensor(**changes: object) -> bytes:
    return safetensors({**TENSORS, "a": {**TENSORS["a"], **changes}})


def folder(path: Path, files: Mapping[str, Any] | None = None) -> Path:
    """A harmless folder, with these files in place of its own; None leaves one out."""
    plain: dict[str, Any] = {
        "config.json": CONFIG, "model.safetensors": safetensors(TENSORS), "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": {"chat_template": TEMPLATE},
    }  # fmt: skip
    path.mkdir(parents=True)
    for name, content in {**plain, **(files or {})}.items():
        if content is not None:
            raw = content if isinstance(content, str | bytes) else json.dumps(content)
            (path / name).write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def setting(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def listing(kind: int, count: int, values: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + values


def tensor(name: str, shape: Sequence[int], kind: int = 0, offset: int = 0, dimensions: int | None = None) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    count = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack("<I", count) + sizes + struct.pack("<IQ", kind, offset)


ARCHITECTURE = setting("general.architecture", 8, text("llama"))


def gguf(
    settings: Sequence[bytes] = (ARCHITECTURE,), tensors: Sequence[bytes] = (), *, body: int = 0, version: int = 3,
    num_settings: int | None = None, num_tensors: int | None = None, alignment: int = 32,
) -> bytes:  # fmt: skip
    counts = (len(tensors) if num_tensors is None else num_tensors,
              len(settings) if num_settings is None else num_settings)  # fmt: skip
    raw = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join((*settings, *tensors))
    return raw + bytes(-len(raw) % alignment) + bytes(body)


# ---- The harm ----


class Payload:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.canary), "w"))


def zipped(files: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw.getvalue()


def torch_file(canary: Path) -> bytes:
    return zipped({"archive/data.pkl": pickle.dumps(Payload(canary)), "archive/version": b"3\n"})


def array_file(canary: Path) -> bytes:
    raw = io.BytesIO()
    np.save(raw, np.array([Payload(canary)], dtype=object), allow_pickle=True)
    return raw.getvalue()


def tar_file() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../config.json"), io.BytesIO())
    return raw.getvalue()


def as_file(name: str, content: Callable[[Path], bytes]) -> Make:
    return lambda path, canary: path.mkdir() or (path / name).write_bytes(content(canary))


def of(content: bytes) -> Callable[[Path], bytes]:
    return lambda canary: content


def in_folder(**files: Any) -> Make:
    """A folder with these files; two underscores stand for a dot, and a function is given the canary."""
    return lambda path, canary: folder(
        path / "model", {name.replace("__", "."): c(canary) if callable(c) else c for name, c in files.items()}
    )


def weights_only(name: str, content: Callable[[Path], bytes]) -> Make:
    return lambda path, canary: folder(path / "model", {"model.safetensors": None, name: content(canary)})


def template(source: str) -> Make:
    return lambda path, canary: folder(
        path / "model", {"tokenizer_config.json": {"chat_template": source.replace("CANARY", str(canary))}}
    )


def template_file(source: str) -> Make:
    return in_folder(chat_template__jinja=source)


def weights(raw: bytes) -> Make:
    return in_folder(model__safetensors=raw)


def config(**fields: Any) -> Make:
    return in_folder(config__json={**CONFIG, **fields})


def replaced(name: str, make: Callable[[Path], object]) -> Make:
    """A folder in which something else stands in a file's place."""

    def write(path: Path, canary: Path) -> None:
        (folder(path / "model") / name).unlink()
        make(path / "model" / name)

    return write


def sparse(name: str, begin: bytes, size: int) -> Make:
    def write(path: Path, canary: Path) -> None:
        file = folder(path / "model") / name
        file.write_bytes(begin)
        os.truncate(file, size)

    return write


def unix_socket(path: Path) -> None:
    home = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(home)


def own_program(canary: Path) -> bytes:
    return f"open({str(canary)!r}, 'w')\n".encode()


FILES: dict[str, tuple[Make, str]] = {
    **{
        f"pickle of protocol {n}": (as_file("model.pkl", lambda c, n=n: pickle.dumps(Payload(c), protocol=n)), "pickle")
        for n in range(6)
    },
    "pickle named as safetensors": (as_file("model.safetensors", lambda c: pickle.dumps(Payload(c))), "pickle"),
    "text pickle that runs a command": (
        as_file("model.bin", lambda c: f"cos\nsystem\n(S'touch {c}'\ntR.".encode()),
        "pickle",
    ),
    "PyTorch file": (as_file("model.pt", torch_file), "PyTorch.*pickle"),
    "PyTorch file of another name": (as_file("model.gguf", torch_file), "PyTorch.*pickle"),
    "NumPy array of objects": (as_file("model.npy", array_file), "NumPy"),
    "NumPy archive": (as_file("model.npz", lambda c: zipped({"a.npy": array_file(c)})), "NumPy"),
    "zip bomb": (as_file("model.zip", of(zipped({"model.bin": bytes(50_000_000)}))), "zip archive"),
    "zip out of its folder": (as_file("model.zip", of(zipped({"../../config.json": b"{}"}))), "zip archive"),
    "gzip bomb": (as_file("model.json.gz", of(gzip.compress(bytes(50_000_000)))), "gzip"),
    "tar out of its folder": (as_file("model.tar", of(tar_file())), "tar archive"),
    "HDF5": (as_file("model.h5", of(b"\x89HDF\r\n\x1a\n" + bytes(64))), "HDF5"),
    "shell script": (as_file("model", of(b"#!/bin/sh\ntouch canary\n")), "program"),
    "machine program": (as_file("model", of(b"\x7fELF" + bytes(64))), "program"),
    "Python program": (as_file("model.py", own_program), "Python program"),
    "JSON": (as_file("model.json", of(b'{"auto_map": {}}')), "JSON"),
    "web page": (as_file("model.gguf", of(b"<!DOCTYPE html><script>alert(1)</script>")), "web page"),
    "pointer": (as_file("model.gguf", of(b"version https://git-lfs.example/spec/v1\nsize 9\n")), "Git LFS"),
    "empty file": (as_file("model.gguf", of(b"")), "empty"),
    "plain text": (as_file("model.gguf", of(b"hello\n")), "is text"),
    "noise": (as_file("model.gguf", of(bytes(range(7, 200)) * 9)), "no known kind"),
    "pipe in place of a model": (lambda path, canary: path.mkdir() or os.mkfifo(path / "model"), "a pipe"),
    "name that moves the cursor": (as_file("\x1b[2Jmodel\n.gguf", of(b"")), r"\\x1b.*\\n.*empty"),
}
FOLDERS: dict[str, tuple[Make, str]] = {
    **{
        f"only *.{kind}": (weights_only(f"model.{kind}", lambda c: pickle.dumps(Payload(c))), "never opened")
        for kind in ("bin", "pt", "pth", "pkl", "ckpt", "npy", "npz", "h5", "msgpack", "onnx")
    },
    "only PyTorch's zip": (weights_only("pytorch_model.bin", torch_file), "never opened"),
    "pickle as weights": (in_folder(model__safetensors=lambda c: pickle.dumps(Payload(c))), "pickle"),
    "zip as weights": (in_folder(model__safetensors=torch_file), "PyTorch"),
    "pointer as weights": (weights(b"version https://git-lfs.example/spec/v1\n"), "Git LFS"),
    "own program by auto_map": (
        in_folder(config__json={**CONFIG, "auto_map": {"AutoModel": "own.Model"}}, own__py=own_program),
        "auto_map",
    ),
    "auto_map deep inside": (config(text_config={"parts": [{"auto_map": {"AutoModel": "own.Model"}}]}), "auto_map"),
    "auto_map of the tokenizer": (
        in_folder(tokenizer_config__json={"auto_map": {"AutoTokenizer": "own.T"}}),
        "auto_map",
    ),
    "auto_map hidden by its twin": (
        in_folder(config__json='{"auto_map": {"AutoModel": "own.Model"}, "auto_map": null}'),
        "stands twice",
    ),
    "own pipeline": (config(custom_pipelines={"chat": {"impl": "own.Pipeline"}}), "custom_pipelines"),
    "trust asked for": (config(trust_remote_code=True), "trust_remote_code"),
    "own generation": (in_folder(generation_config__json={"custom_generate": "own/loop"}), "custom_generate"),
    "lists a million deep": (in_folder(config__json="[" * 900_000), "nested"),
    "objects a hundred thousand deep": (in_folder(config__json='{"a":' * 100_000 + "1" + "}" * 100_000), "nested"),
    "config of 2 MB": (config(note="x" * 2_000_000), "bytes long"),
    "a third of a million empty lists": (in_folder(config__json="[" + "[]," * 340_000 + "[]]"), "parts"),
    "number of 5,000 digits": (in_folder(config__json='{"vocab_size": ' + "9" * 5_000 + "}"), "5000 digits"),
    "no number": (in_folder(config__json='{"rms_norm_eps": NaN}'), "not a number"),
    "a trillion layers": (config(num_hidden_layers=10**12), "num_hidden_layers"),
    "a vocabulary below zero": (config(vocab_size=-1), "vocab_size"),
    "width of true": (config(hidden_size=True), "hidden_size"),
    "config that is a list": (in_folder(config__json=[CONFIG]), "expected a JSON object"),
    "config that is no JSON": (in_folder(config__json="import os"), "not valid JSON"),
    "config cut short": (in_folder(config__json=json.dumps(CONFIG)[:-9]), "not valid JSON"),
    "config cut inside a text": (in_folder(config__json='{"a": "b'), "inside a text"),
    "config in no encoding": (in_folder(config__json=b'{"a": "\xff\xfe"}'), "UTF-8"),
    "no config": (in_folder(config__json=None), "no config.json"),
    "pipe as config": (replaced("config.json", os.mkfifo), "a pipe"),
    "pipe as weights": (replaced("model.safetensors", os.mkfifo), "a pipe"),
    "socket as tokenizer": (replaced("tokenizer.json", unix_socket), "a socket"),
    "link to a device": (replaced("model.safetensors", lambda p: p.symlink_to("/dev/zero")), "link out"),
    "link to the passwords": (replaced("tokenizer.json", lambda p: p.symlink_to("/etc/passwd")), "link out"),
    "link up and out": (replaced("config.json", lambda p: p.symlink_to("../../../config.json")), "link out"),
    "link in a circle": (replaced("config.json", lambda p: p.symlink_to("config.json")), "config.json"),
    "link to nothing": (replaced("config.json", lambda p: p.symlink_to("other.json")), "does not exist"),
    "tokenizer of 65 MB": (sparse("tokenizer.json", b"{", 65 * 1024**2), "bytes long"),
    "tokenizer of ten million lists": (in_folder(tokenizer__json='{"model": [' + "[]," * 10_000_000 + "[]]}"), "parts"),
    "tokenizer a million deep": (in_folder(tokenizer__json='{"model":' + "[" * 1_000_000), "nested"),
    "tokenizer that is no JSON": (in_folder(tokenizer__json=lambda c: pickle.dumps(Payload(c))), "not a JSON object"),
    "tokenizer cut short": (in_folder(tokenizer__json=json.dumps(TOKENIZER)[:-1]), "open"),
    "shard up and out": (
        in_folder(model__safetensors__index__json={"weight_map": {"a": "../../other.safetensors"}}),
        "without a path",
    ),
    "shard by full path": (
        in_folder(model__safetensors__index__json={"weight_map": {"a": "/etc/model.safetensors"}}),
        "without a path",
    ),
    "shard that is a pickle": (
        in_folder(model__safetensors__index__json={"weight_map": {"a": "model.bin"}}),
        "safetensors file",
    ),
    "index without a map": (in_folder(model__safetensors__index__json={"weight_map": 7}), "weight_map"),
}
SAFETENSORS: dict[str, tuple[Make, str]] = {
    "shorter than its length": (weights(b"\x00\x00"), "2 bytes long"),
    "header beyond the file": (weights(safetensors(TENSORS, length=2**40)), "1099511627776"),
    "header of 2^63": (weights(safetensors(TENSORS, length=2**63 + 5)), "bytes long"),
    "header of 90 MB": (sparse("model.safetensors", struct.pack("<Q", 90_000_000) + b"{", 100_000_000), "at most"),
    "header of a million parts": (weights(safetensors("[" + "{}," * 600_000 + "{}]")), "parts"),
    "header no JSON": (weights(safetensors("{a: 1}")), "not valid JSON"),
    "header no UTF-8": (weights(safetensors(b'{"\xff": 1}')), "UTF-8"),
    "header a thousand deep": (weights(safetensors('{"a":' * 1000 + "1" + "}" * 1000)), "nested"),
    "tensor twice": (weights(safetensors('{"a": 1, "a": 2}')), "stands twice"),
    "notes that are no text": (weights(safetensors({"__metadata__": {"a": [1]}, **TENSORS})), "__metadata__"),
    "tensor without fields": (weights(safetensors({"a": {"dtype": "F32"}})), "expected dtype"),
    "tensor with a field too many": (weights(with_tensor(eval="1")), "expected dtype"),
    "unknown number format": (weights(with_tensor(dtype="PICKLE")), "dtype is"),
    "number format a list": (weights(with_tensor(dtype=["F32"])), "dtype is"),
    "shape below zero": (weights(with_tensor(shape=[-2, -3])), "shape is"),
    "shape a fraction": (weights(with_tensor(shape=[2.0, 3])), "shape is"),
    "shape of a thousand ones": (weights(with_tensor(shape=[1] * 1000)), "shape is"),
    "shape beyond counting": (weights(with_tensor(shape=[2**40, 2**40])), "more than"),
    "offsets beyond the file": (weights(with_tensor(data_offsets=[2**40, 2**40 + 24])), "hole|bytes"),
    "end before begin": (weights(with_tensor(data_offsets=[24, 0])), "hold -24 bytes"),
    "one offset": (weights(with_tensor(data_offsets=[0])), "begin and end"),
    "size not its shape": (weights(with_tensor(shape=[2, 4])), "takes 32"),
    "overlap": (weights(safetensors({**TENSORS, "c": {**TENSORS["b"], "data_offsets": [16, 24]}})), "overlaps"),
    "hole": (weights(safetensors({**TENSORS, "b": {**TENSORS["b"], "data_offsets": [32, 40]}}, body=40)), "hole"),
    "something behind the tensors": (weights(safetensors(TENSORS, body=64)), "holds 64 bytes"),
    "cut tensors": (weights(safetensors(TENSORS, body=31)), "holds 31 bytes"),
}


def gguf_file(raw: bytes) -> Make:
    return as_file("model.gguf", of(raw))


def gguf_with(*settings: bytes) -> Make:
    return gguf_file(gguf([ARCHITECTURE, *settings]))


def gguf_of(*tensors: bytes, **options: Any) -> Make:
    return gguf_file(gguf(tensors=tensors, **{"body": 64, **options}))


GGUF: dict[str, tuple[Make, str]] = {
    "magic word alone": (gguf_file(b"GGUF"), "beyond the end"),
    "version 1": (gguf_file(gguf(version=1)), "version 1"),
    "version 99": (gguf_file(gguf(version=99)), "version 99"),
    "other byte order": (gguf_file(gguf(version=3 << 24)), "byte order"),
    "2^60 settings": (gguf_file(gguf(num_settings=2**60)), "more than there can be"),
    "2^60 tensors": (gguf_file(gguf(num_tensors=2**60)), "more than there can be"),
    "one setting too many": (gguf_file(gguf([ARCHITECTURE], num_settings=2, body=64)), "no name"),
    "name of 2^60 bytes": (gguf_with(struct.pack("<Q", 2**60)), "expected at most|more than"),
    "text of 2^63 bytes": (gguf_with(setting("a", 8, struct.pack("<Q", 2**63))), "expected at most"),
    "text beyond the file": (gguf_with(setting("a", 8, struct.pack("<Q", 10**6))), "beyond the end"),
    "list of 2^62 entries": (gguf_with(setting("a", 9, listing(4, 2**62))), "more than there can be"),
    "list of texts beyond the file": (gguf_with(setting("a", 9, listing(8, 1000))), "more than there can be"),
    "list of an unknown type": (gguf_with(setting("a", 9, listing(99, 1) + bytes(64))), "unknown type 99"),
    "lists a hundred deep": (gguf_with(setting("a", 9, listing(9, 1) * 100)), "too deeply"),
    "two million entries": (gguf_with(setting("a", 9, listing(0, 2_000_000, bytes(2_000_000)))), "more than"),
    "unknown type of setting": (gguf_with(setting("a", 77, bytes(64))), "unknown type 77"),
    "setting twice": (gguf_with(ARCHITECTURE), "stands twice"),
    "neither true nor false": (gguf_with(setting("a", 7, b"\x07")), "0 or 1"),
    "text of no encoding": (gguf_with(setting("a", 8, text(b"\xff\xfe"))), "UTF-8"),
    "alignment 0": (gguf_with(setting("general.alignment", 4, bytes(4))), "power of two"),
    "alignment 3": (gguf_with(setting("general.alignment", 4, struct.pack("<I", 3))), "power of two"),
    "alignment a text": (gguf_with(setting("general.alignment", 8, text("32"))), "power of two"),
    "no dimensions": (gguf_of(tensor("a", [])), "0 dimensions"),
    "five dimensions": (gguf_of(tensor("a", [1] * 5)), "5 dimensions"),
    "four billion dimensions": (gguf_of(tensor("a", [1], dimensions=2**32 - 1)), "4294967295 dimensions"),
    "a dimension of 0": (gguf_of(tensor("a", [4, 0])), "the shape"),
    "shape that overflows": (gguf_of(tensor("a", [2**32, 2**32])), "the shape"),
    "tensor of an unknown format": (gguf_of(tensor("a", [4], kind=33)), "number format 33"),
    "half a block": (gguf_of(tensor("a", [33], kind=8)), "multiple of 32"),
    "offset between": (gguf_of(tensor("a", [4], offset=5)), "multiple of"),
    "offset beyond the file": (gguf_of(tensor("a", [4], offset=2**40)), "beyond the end"),
    "offset that wraps around": (gguf_of(tensor("a", [4], offset=2**64 - 32)), "beyond the end"),
    "tensor larger than the file": (gguf_of(tensor("a", [2**40])), "beyond the end"),
    "overlapping tensors": (gguf_of(tensor("a", [16]), tensor("b", [4], offset=32)), "overlaps"),
    "same tensor twice": (gguf_of(tensor("a", [4]), tensor("a", [4], offset=32)), "stands twice"),
    "tensors cut off": (gguf_of(tensor("a", [16]), body=60), "beyond the end"),
    "template that is a bomb": (
        gguf_with(setting("tokenizer.chat_template", 8, text("{{ 'a' * 10**9 }}"))),
        r"operator \*",
    ),
    "second template that is a bomb": (
        gguf_with(setting("tokenizer.chat_template.tools", 8, text("{{ lipsum() }}"))),
        "lipsum",
    ),
}
DOUBLING = "".join(f"{{% set a{i + 1} = a{i} ~ a{i} %}}" for i in range(60))
NESTING = "".join(f"{{% set a{i + 1} = [a{i}, a{i}] %}}" for i in range(60))
MACROS = "".join(f"{{% macro m{i + 1}() %}}{{{{ m{i}() }}}}{{{{ m{i}() }}}}{{% endmacro %}}" for i in range(40))
TEMPLATES: dict[str, tuple[Make, str]] = {
    "class of a text": (template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), r"__subclasses__|__class__"),
    "class by its name in brackets": (template("{{ ''['__class__'] }}"), "__class__"),
    "class by the filter attr": (template("{{ ''|attr('__class__') }}"), "the filter attr"),
    "class by map": (template("{{ messages|map(attribute='content.__class__')|list }}"), "the filter map"),
    "class by selectattr": (template("{{ messages|selectattr('__class__')|list }}"), "the filter selectattr"),
    "command through lipsum": (
        template("{{ lipsum.__globals__['os'].system('touch CANARY') }}"), "lipsum|the attribute|the method"),
    "command through cycler": (
        template("{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}"), "the method|cycler"),
    "command through namespace": (template("{{ namespace.__init__.__globals__ }}"), "the attribute"),
    "command through self": (template("{{ self._TemplateReference__context }}"), "self|the attribute"),
    "include": (template("{% include '/etc/passwd' %}"), "include"),
    "import": (template("{% import '/etc/passwd' as p %}"), "import"),
    "import from": (template("{% from '/etc/passwd' import p %}"), "import"),
    "extends": (template("{% extends '/etc/passwd' %}"), "extends"),
    "block": (template("{% block a %}{{ self.a() }}{% endblock %}"), "block|self"),
    "product": (template("a\n{{ 'a' * 1000000000 }}"), r"operator \* \(line 2\)"),
    "power": (template("{{ 9 ** 9 ** 9 ** 9 }}"), r"operator \*\*"),
    "range": (template("{% for i in range(99999) %}{% endfor %}"), "the function range"),
    "range of a length": (template("{% for i in range(messages|length) %}{% endfor %}"), "the function range"),
    "range under another name": (template("{% set r = range %}{% for i in r(9**9) %}{% endfor %}"), "range as a value"),
    "function under an allowed name": (
        template("{% set strftime_now = messages[0].content.format %}{{ strftime_now('x') }}"), "as a value"),
    "center": (template("{{ 'a'.center(1000000000) }}"), "the method center"),
    "ljust": (template("{{ 'a'.ljust(1000000000) }}"), "the method ljust"),
    "center, the filter": (template("{{ 'a'|center(1000000000) }}"), "the filter center"),
    "format": (template("{{ '{:>1000000000}'.format('a') }}"), "the method format"),
    "format, the filter": (template("{{ '%1000000000d'|format(1) }}"), "the filter format"),
    "growing replace": (template("{{ messages[0].content|replace('', 'aaaaaaaaaaaaaaaa') }}"), "the filter replace"),
    "growing replace, the method": (template("{{ 'aa'.replace('a', 'a' ~ messages) }}"), "the method replace"),
    "join by what messages say": (template("{{ messages|join(messages[0].content) }}"), "the filter join"),
    "indent": (template("{{ messages[0].content|indent(1000000) }}"), "the filter indent"),
    "tojson, indented": (template("{{ messages|tojson(indent=1000000) }}"), "the filter tojson"),
    "slice into a billion": (template("{{ messages|slice(1000000000)|list }}"), "the filter slice"),
    "sum": (template("{{ messages|sum(start=[]) }}"), "the filter sum"),
    "time of a thousand characters": (template("{{ strftime_now('%100000d') }}"), "strftime_now"),
    "cycler": (template("{{ cycler('a', 'b').next() }}"), "cycler|the method next"),
    "call block": (template("{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}"), "call block"),
    "macro in itself": (template("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "the macro m in itself"),
    "macros that double": (
        template("{% macro m0() %}a{% endmacro %}" + MACROS + "{{ m40() }}"), "more than 10000 parts"),
    "ten thousand small parts": (template("a{{ b }}" * 8_000), "more than 10000 parts"),
    "recursive loop": (template("{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}"), "recursive|loop"),
    "loops four deep": (template("{% for m in messages %}" * 4 + "{% endfor %}" * 4), "more than 3 loops"),
    "loops through a macro": (
        template("{% macro m() %}" + "{% for a in messages %}" * 2 + "x" + "{% endfor %}" * 2 + "{% endmacro %}"
                 + "{% for a in messages %}" * 2 + "{{ m() }}" + "{% endfor %}" * 2), "more than 3 loops"),
    "doubling in a loop": (
        template("{% set n = namespace(s='a') %}{% for m in messages %}{% set n.s = n.s ~ n.s %}{% endfor %}"),
        "twice"),
    "doubling by a set block": (
        template("{% set n = namespace(s='a') %}{% for m in messages %}{% set n.s %}{{ n.s }}{{ n.s }}{% endset %}"
                 "{% endfor %}"), "twice"),
    "doubling in a circle": (
        template("{% set n = namespace(a='a', b='b') %}{% for i in range(500) %}{% set n.a = n.b + n.b %}"
                 "{% set n.b = n.a + n.a %}{% endfor %}"), "makes too much"),
    "doubling line by line": (template("{% set a0 = 'abcdefgh' %}" + DOUBLING + "{{ a60 }}"), "makes too much"),
    "lists in lists": (template("{% set a0 = ['a'] %}" + NESTING + "{{ a60 == a60 }}"), "makes too much"),
    "loops over every letter": (
        template("{% for a in messages|string %}{% for b in messages|string %}{% for c in messages|string %}x"
                 "{% endfor %}{% endfor %}{% endfor %}"), "makes too much"),
    "arguments from a list": (template("{{ raise_exception(*messages) }}"), "with \\*"),
    "unknown function": (template("{{ open('/etc/passwd') }}"), "the function open"),
    "computed function": (template("{{ messages[0]['pop']() }}"), "computed"),
    "unknown test": (template("{{ messages is callable }}"), "the test callable"),
    "number beyond numbers": (template("{{ 99999999999999999999 }}"), "a number"),
    "number of 50,000 digits": (template("{{ " + "9" * 50_000 + " }}"), "parsed|a number|syntax"),
    "brackets ten thousand deep": (template("{{ " + "(" * 10_000 + "1" + ")" * 10_000 + " }}"), "parsed|nesting"),
    "sum of ten thousand": (template("{{ 'a'" + "+'a'" * 10_000 + " }}"), "nesting"),
    "conditions a thousand deep": (template("{% if a %}" * 1000 + "{% endif %}" * 1000), "parsed|nesting"),
    "not not not": (template("{{ " + "not " * 10_000 + "a }}"), "parsed|nesting"),
    "a megabyte": (template("a" * 1_000_000), "64 KiB"),
    "a file of a megabyte": (template_file("a" * 1_000_000), "bytes long"),
    "a file that is a bomb": (template_file("{{ 'a' * 10**9 }}"), r"operator \*"),
    "wrong syntax": (template("{% for %}"), "syntax"),
    "unknown tag": (template("{% do messages.append(1) %}"), "syntax"),
    "break outside a loop": (template("{% break %}"), "compiled|syntax"),
    "no text": (in_folder(tokenizer_config__json={"chat_template": 7}), "expected text"),
    "one of several": (
        in_folder(tokenizer_config__json={"chat_template": [{"name": "a", "template": TEMPLATE},
                                                            {"name": "b", "template": "{{ lipsum() }}"}]}), "lipsum"),
}  # fmt: skip
GROUPS = {"file": FILES, "folder": FOLDERS, "safetensors": SAFETENSORS, "gguf": GGUF, "template": TEMPLATES}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


def made(place: Path, name: str, make: Make, canary: Path) -> Path:
    """The malicious file or folder, made."""
    path = place / re.sub(r"\W+", "-", name)
    make(path, canary)
    inside = list(path.iterdir())
    assert len(inside) == 1
    return inside[0]


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "it-ran"


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, canary: Path) -> dict[str, dict[str, Any]]:
    """What came of looking at each."""
    place = tmp_path_factory.mktemp("malicious")
    paths = [str(made(place, name, make, canary)) for name, (make, _) in CASES.items()]
    done = subprocess.run(
        [sys.executable, "-c", INSPECTOR], input=json.dumps(paths), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_refused_with_one_line(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[name]
    assert answer["kind"] == "refused", answer
    assert re.search(CASES[name][1], answer["message"]), answer["message"]
    assert re.search(SAFE_WAY, answer["message"]), answer["message"]
    assert answer["message"].isprintable()
    assert len(answer["message"]) < 700
    assert answer["seconds"] < SECONDS
    assert answer["peak_mb"] < MEGABYTES
    assert not answer["torch"]


def test_nothing_ran(answers: dict[str, dict[str, Any]], canary: Path) -> None:
    assert len(answers) > 60
    assert not canary.exists()
    pickle.loads(pickle.dumps(Payload(canary))).close()
    assert canary.exists(), "the payload does what it is there for"
    canary.unlink()


@pytest.mark.parametrize(
    "name",
    ["file: PyTorch file", "folder: only PyTorch's zip", "folder: own program by auto_map", "folder: pipe as config",
     "safetensors: overlap", "template: command through cycler", "template: macros that double"],
)  # fmt: skip
def test_command_refuses(tmp_path: Path, canary: Path, name: str) -> None:
    make, expected = CASES[name]
    path = made(tmp_path, name, make, canary)
    words = [sys.executable, "-X", "importtime", "-m", "duologue", "chat", str(path), "-p", "hi"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        words, env=environment, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode in (1, 2)
    assert len(said) == 1
    assert re.search(expected, said[0]), said[0]
    assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE), "torch was loaded"
    assert not canary.exists()


# ---- What is harmless passes ----

# Written for this test with the constructs that the templates of widely used models are made of.
SMOL = """
{%- for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You help.<|im_end|>
' }}{% endif %}{{ '<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""
LLAMA = """
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{% set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{% set date_string = "?" %}
    {%- endif %}
{%- endif %}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\nToday: " + date_string[-4:] + "\\n" + system_message + "<|eot|>" }}
{%- if tools is not none and tools is defined %}{% for t in tools %}{{- t | tojson(indent=4) }}{% endfor %}{% endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must take turns!') }}
    {%- endif %}
    {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n\\n' }}{% endif %}"""
QWEN = """
{%- macro body(text) -%}{% if text is string %}{{- text }}{% elif text is iterable %}{{ text|length }}{% endif %}
{%- endmacro %}
{%- set ns = namespace(searching=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and not (message.content.startswith('<tool>')
        and message.content.endswith('</tool>')) %}
        {%- set ns.searching = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set thought = '' %}{% set content = message.content %}
    {%- if message.role == "assistant" and '</think>' in content %}
        {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last and (loop.last or thought) %}
        {{- '<|im_start|>' ~ message.role ~ '\\n<think>\\n' ~ thought.strip('\\n') }}
        {{- '\\n</think>\\n\\n' ~ body(content) }}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' + body(content) }}{% endif %}
    {{- '<|im_end|>\\n' }}
    {%- if message.tool_calls is defined %}{% for call in message.tool_calls %}{{ call|tojson }}{% endfor %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""
MISTRAL = """
{%- set ns = namespace(index=0, seen=[], system='') %}
{%- for message in messages if message['role'] == 'system' %}{% set ns.system = ns.system + message['content'] %}
{%- endfor %}
{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list %}
{%- for message in turns %}
    {%- if message.role not in ['user', 'assistant'] %}{% continue %}{% endif %}
    {%- set ns.index = ns.index + 1 %}{% set ns.seen = ns.seen + [message.role] %}
    {{- '[INST] ' if message.role == 'user' else ' ' }}
    {{- ns.system + '\\n\\n' if loop.last and ns.system else '' }}
    {{- message.get('content', '')|replace('\\r\\n', '\\n') }}
    {{- '[/INST]' if message.role == 'user' else eos_token }}
{%- endfor %}{{ ns.seen | join(', ') }}"""
TEMPLATES_IN_USE = {"plain": TEMPLATE, "smol": SMOL, "llama": LLAMA, "qwen": QWEN, "mistral": MISTRAL}
THOUGHT = "<think>\nHm: {{ 7 }}.\n</think>\n\nYes, 好的。"
DIALOGUES = [
    [{"role": "user", "content": " 你好 <b>&\r\n"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": THOUGHT}, {"role": "user", "content": "So?"}],
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": THOUGHT}],
]


@pytest.mark.parametrize("name", TEMPLATES_IN_USE)
@pytest.mark.parametrize("dialogue", DIALOGUES)
@pytest.mark.parametrize("tools", [None, [{"name": "f", "parameters": {"x": ["é", 1.5, None]}}]])
def test_templates_render_as_in_transformers(name: str, dialogue: list[dict[str, str]], tools: Any) -> None:
    source = TEMPLATES_IN_USE[name]
    check_template(source, where=name)
    for asked in (False, True):
        options: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False}
        ours = render_template(source, messages=dialogue, add_generation_prompt=asked, tools=tools, **options)
        theirs, _ = render_jinja_template(
            [dialogue], chat_template=source, add_generation_prompt=asked, tools=tools, **options
        )
        assert ours == theirs[0]


def test_template_may_refuse_a_conversation() -> None:
    same_twice = [{"role": "user", "content": "a"}] * 2
    with pytest.raises(DataError, match="Roles must take turns"):
        render_template(LLAMA, messages=same_twice, add_generation_prompt=True, bos_token="")


# Nothing of this shows before the conversation comes.
SLEEPERS = {
    "every letter, thrice": "{% for a in messages[0].content %}{% for b in messages[0].content %}"
    "{% for c in messages[0].content %}{% endfor %}{% endfor %}{% endfor %}",
    "doubling in a long conversation": "{% set n = namespace(a='aaaa', b='bbbb') %}"
    "{% if messages[0].content|length > 99 %}{% for m in messages[0].content %}"
    "{% set n.a = n.b ~ n.b %}{% set n.b = n.a ~ n.a %}{% endfor %}{% endif %}",
    "a format that messages bring": "{{ messages[0].content % 2 }}",
    "a class by a name that messages bring": "{{ messages[0]['_' ~ '_class_' ~ '_'].x.y }}",
}  # fmt: skip


@pytest.mark.parametrize("name", SLEEPERS)
def test_what_sleeps_in_a_template_wakes_in_vain(name: str) -> None:
    check_template(SLEEPERS[name], where=name)
    begin = time.perf_counter()
    with pytest.raises(ModelFolderError, match=r"makes too much|fails on"):
        render_template(SLEEPERS[name], messages=[{"role": "user", "content": "%1000000000d" + "a" * 100_000}],
                        add_generation_prompt=True)  # fmt: skip
    assert time.perf_counter() - begin < 20


def test_a_long_conversation_is_within_the_allowance() -> None:
    dialogue = [{"role": role, "content": "word " * 200} for role in ("user", "assistant")] * 500
    for source in TEMPLATES_IN_USE.values():
        assert len(render_template(source, messages=dialogue, add_generation_prompt=True, eos_token="", bos_token=""))


@pytest.mark.parametrize(
    "words",
    [
        ["chat", "MODEL", "-p", "hi"],
        ["generate", "MODEL", "--input", "-"],
        ["evaluate", "MODEL", "--data", "DATA"],
        ["export", "gguf", "MODEL"],
        ["export", "check", "MODEL"],
        ["finetune", "tiny", "--init", "MODEL"],
        ["up", "tiny", "--init", "MODEL"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_verb_looks_before_it_loads_torch(tmp_path: Path, words: list[str]) -> None:
    model = folder(tmp_path / "model", {"config.json": {**CONFIG, "auto_map": {"AutoModel": "evil.Model"}}})
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}))
    given = [{"MODEL": str(model), "DATA": str(data)}.get(word, word) for word in words]
    code = "import sys; from duologue.cli.main import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code, *given], cwd=tmp_path, env=environment, input="",
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert "auto_map" in done.stderr
    assert done.stderr.count("\n") == 1


def test_model_folder_passes(model_folder: Path) -> None:
    inspect_model(model_folder)
    (model_folder / "modeling.py").write_text("raise SystemExit")
    (model_folder / "training_args.bin").write_bytes(pickle.dumps(7))
    assert resolve_model(str(model_folder)) == model_folder


def test_shards_and_templates_of_several_names_pass(tmp_path: Path) -> None:
    half = {"b": {**TENSORS["b"], "data_offsets": [0, 8]}}
    files = {
        "model.safetensors": None,
        "model-1.safetensors": safetensors({"a": TENSORS["a"]}, body=24),
        "model-2.safetensors": safetensors({"__metadata__": {"format": "pt"}, **half}, body=8),
        "model.safetensors.index.json": {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}},
        "tokenizer_config.json": {"chat_template": [{"name": "default", "template": QWEN}], "model_max_length": 10**30},
        "chat_template.jinja": LLAMA,
        "config.json": {**CONFIG, "auto_map": None, "trust_remote_code": False},
    }
    model = folder(tmp_path / "model", files)
    assert resolve_model(str(model)) == model


def test_snapshot_of_a_hub_is_made_of_links(tmp_path: Path) -> None:
    blobs = folder(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert resolve_model(str(snapshot)) == snapshot


def test_safetensors_alone_is_told_from_a_model(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    # A header of 640 bytes: the file begins like a pickle of protocol 2, and is none.
    file.write_bytes(safetensors(json.dumps(TENSORS).ljust(640)))
    with pytest.raises(ModelFolderError, match="the weights alone; name the model folder"):
        inspect_model(file)
    assert read_safetensors_header(file) == {"a": ("F32", (2, 3)), "b": ("BF16", (4,))}


def test_gguf_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    settings = [
        ARCHITECTURE,
        setting("general.alignment", 4, struct.pack("<I", 64)),
        setting("eps", 6, struct.pack("<f", 0.5)),
        setting("below", 11, struct.pack("<q", -(2**40))),
        setting("yes", 7, b"\x01"),
        setting("tokens", 9, listing(8, 2, text("a") + text("好"))),
        setting("nested", 9, listing(9, 2, listing(5, 1, struct.pack("<i", -1)) + listing(7, 0))),
        setting("tokenizer.chat_template", 8, text(QWEN)),
    ]
    tensors = [tensor("b", [32, 3], kind=8, offset=64), tensor("a", [4, 2], kind=0, offset=0)]
    file.write_bytes(gguf(settings, tensors, body=64 + 3 * 34, alignment=64))
    inspect_model(file)
    header = read_gguf_header(file)
    assert header.metadata == {
        "general.architecture": "llama", "general.alignment": 64, "eps": 0.5, "below": -(2**40), "yes": True,
        "tokens": ["a", "好"], "nested": [[-1], []], "tokenizer.chat_template": QWEN,
    }  # fmt: skip
    b, a = header.tensors
    assert (b.name, b.shape, b.number_format, b.size_bytes) == ("b", (3, 32), "Q8_0", 102)
    assert (a.name, a.shape, a.number_format, a.size_bytes) == ("a", (2, 4), "F32", 32)
    assert (a.offset, b.offset) == (file.stat().st_size - 64 - 102, file.stat().st_size - 102)


def test_gguf_of_its_own_package_is_read_quickly(tmp_path: Path) -> None:
    package = pytest.importorskip("gguf")
    file = tmp_path / "model.gguf"
    writer = package.GGUFWriter(file, "llama")
    tokens = [f"token {i} 好" for i in range(49_152)]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([f"{i} {i + 1}" for i in range(48_900)])
    writer.add_chat_template(SMOL)
    arrays = {"a": np.ones((3, 64), np.float32), "b": np.ones(5, np.float16), "c": np.ones((2, 3, 4), np.int8)}
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    begin = time.perf_counter()
    header = read_gguf_header(file)
    assert time.perf_counter() - begin < 1
    inspect_model(file)
    assert header.metadata["tokenizer.ggml.tokens"] == tokens
    data = file.read_bytes()
    for stored in header.tensors:
        assert stored.shape == arrays[stored.name].shape
        assert data[stored.offset : stored.offset + stored.size_bytes] == arrays[stored.name].tobytes()


def test_formats_of_ggml_are_those_of_its_package() -> None:
    package = pytest.importorskip("gguf")
    from duologue.hub.gguf_header import FORMATS

    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in package.GGML_QUANT_SIZES.items()}
    assert all(theirs[kind] == tuple(ours) for kind, ours in FORMATS.items())


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int64"])
def test_safetensors_of_its_own_package_is_read(tmp_path: Path, dtype: str) -> None:
    from safetensors.numpy import save_file

    arrays = {f"t{i}": np.zeros(shape, dtype) for i, shape in enumerate([(), (0, 3), (5,), (2, 3, 4)])}
    save_file(arrays, tmp_path / "model.safetensors", metadata={"format": "pt"})
    header = read_safetensors_header(tmp_path / "model.safetensors")
    assert {name: tensor.shape for name, tensor in header.items()} == {name: a.shape for name, a in arrays.items()}
    assert sum(math.prod(tensor.shape) for tensor in header.values()) == 30


def test_message_is_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DuologueError, match="cannot be read"):
        inspect_model(tmp_path / "missing")
