"""A stand-in for both hubs on loopback: a real HTTP server with a tiny real model, which can misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from duologue.hub import download, names

COMMIT = "c0ffee" + "0" * 34
ID = "Someone/Small-Model"
BESIDE_THE_MODEL = {"generation_config.json": b"{}", "README.md": "# 模型".encode(), "LICENSE": b"Apache-2.0"}
UNWANTED = {
    "pytorch_model.bin": b"pickle", "model.pt": b"pickle", "x.pkl": b"pickle", "modeling_small.py": b"import os",
    "../config.json": b"outside", "/etc/tokenizer.json": b"outside", "onnx/config.json": b"{}", "LICENSE.py": b"",
    "..\\README.md": b"outside",
}  # fmt: skip


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class StandIn:
    """A hub: what it has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes]
    port: int = 0
    commit: str = COMMIT
    delay_s: float = 0.0
    statuses: list[tuple[str, int]] = field(default_factory=list)  # the next answers to paths holding the text
    cuts: list[int] = field(default_factory=list)  # after so many bytes of weights, one for each request
    extra: bytes = b""  # sent after a file, and counted in Content-Length where is_honest
    is_honest: bool = True
    follows_range: bool = True
    states_checksums: bool = True
    wrong_content: set[str] = field(default_factory=set)
    etag: str = '"one"'
    redirects_to: str = ""  # where large files are, if elsewhere
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ranges(self) -> list[str | None]:
        """The Range headers of the requests for weights that were answered with content."""
        weights = [headers for path, headers in self.asked if path.startswith(("/cdn/", "/api/v1/")) and
                   path.endswith("model.safetensors")]  # fmt: skip
        return [headers.get("range") for headers in weights]

    def huggingface_listing(self) -> dict[str, object]:
        siblings = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"rfilename": name}
            if self.states_checksums:
                git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                entry |= {"size": len(content), "blobId": git}
                if name.endswith(".safetensors"):
                    lfs = {"sha256": sha256(content), "size": len(content)}
                    entry |= {"blobId": "0" * 40, "lfs": lfs}
            siblings.append(entry)
        return {"sha": self.commit, "siblings": siblings}

    def modelscope_listing(self) -> dict[str, object]:
        entries: list[dict[str, object]] = [
            {"Path": name, "Type": "blob", "Size": len(content), "Revision": COMMIT, "Sha256": sha256(content)}
            for name, content in self.files.items()
        ]
        folder: dict[str, object] = {"Path": "onnx", "Type": "tree", "Size": 0}
        return {"Code": 200, "Data": {"Files": [folder, *entries], "LatestCommitter": {"Id": self.commit}}}


class _Handler(BaseHTTPRequestHandler):
    hub: StandIn

    def do_HEAD(self) -> None:
        self._note()
        self._answer(200, b"")

    def do_GET(self) -> None:
        self._note()
        path, query = unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query)
        for index, (text, status) in enumerate(self.hub.statuses):
            if text in self.path:
                del self.hub.statuses[index]
                return self._answer(status, b"{}")
        if re.fullmatch(rf"/api/models/{ID}/revision/.+", path):
            return self._answer(200, json.dumps(self.hub.huggingface_listing()).encode())
        if path == f"/api/v1/models/{ID}/repo/files":
            return self._answer(200, json.dumps(self.hub.modelscope_listing()).encode())
        if path == f"/api/v1/models/{ID}/repo" and query["Revision"] == [COMMIT]:
            return self._send_file(query["FilePath"][0])
        if path.startswith(f"/{ID}/resolve/{COMMIT}/"):
            name = path.rpartition("/")[2]
            place = f"{self.hub.redirects_to}/cdn/{name}"
            linked = {"X-Linked-Etag": f'"{sha256(self.hub.files[name])}"', "Location": place}
            return self._answer(302, b"", linked) if name.endswith("tensors") else self._send_file(name)
        if path.startswith("/cdn/"):
            return self._send_file(path.rpartition("/")[2])
        return self._answer(404, b"{}")

    def _send_file(self, name: str) -> None:
        content = self.hub.files[name]
        if name in self.hub.wrong_content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        begin, status, headers = 0, 200, {"ETag": self.hub.etag}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.hub.follows_range and self.headers.get("If-Range", self.hub.etag) == self.hub.etag:
            begin, status = int(wanted[1]), 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        if name == "model.safetensors" and self.hub.cuts:
            return self._answer(status, content[begin:], headers, cut=self.hub.cuts.pop(0))
        extra = self.hub.extra if name == "model.safetensors" else b""
        self._answer(status, content[begin:], headers, extra=extra)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: int | None = None,
                extra: bytes = b"") -> None:  # fmt: skip
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.hub.is_honest:
            self.send_header("Content-Length", str(len(body + extra)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who has enough hangs up
            self.wfile.write((body + extra)[:cut])

    def _note(self) -> None:
        self.hub.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        time.sleep(self.hub.delay_s)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> dict[str, bytes]:
    """The files of a model, its weights some 300 kB."""
    folder = write_model(tmp_path_factory.mktemp("real") / "model", extra_vocabulary=1500)
    return {path.name: path.read_bytes() for path in folder.iterdir()} | BESIDE_THE_MODEL


@pytest.fixture
def start_hub(model_files: dict[str, bytes]) -> Iterator[Callable[[], StandIn]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> StandIn:
        hub = StandIn(model_files | UNWANTED)
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
        hub.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return hub

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed_endpoint() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_endpoint: str) -> Path:
    """A clean place for pulled models, short pauses, and no way to the real hubs."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "DUOLOGUE_SOURCE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DUOLOGUE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_ENDPOINT", closed_endpoint)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", closed_endpoint)
    monkeypatch.setattr(download, "PAUSE_S", 0.01)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def huggingface(start_hub: Callable[[], StandIn], monkeypatch: pytest.MonkeyPatch) -> StandIn:
    hub = start_hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    return hub


@pytest.fixture
def modelscope(start_hub: Callable[[], StandIn], monkeypatch: pytest.MonkeyPatch) -> StandIn:
    hub = start_hub()
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint)
    return hub


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, model_files: dict[str, bytes]) -> str:
    """A known name that both hubs have, as qwen3-0.6b is: no wheel."""
    repositories = (names.Repository("ms", ID), names.Repository("hf", ID, COMMIT))
    weights_sha256 = sha256(model_files["model.safetensors"])
    known = names.ModelName("small", repositories=repositories, weights_sha256=weights_sha256)
    monkeypatch.setitem(names.KNOWN, "small", known)
    return "small"
