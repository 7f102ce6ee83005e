"""The two hubs: which files a repository has at a revision, and where each of them is.

What a hub says is not trusted: a file is taken only where its name is one of those that a model folder has.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import httpx2

from duologue.errors import ConfigError, HubError
from duologue.hub.download import Checksum, RemoteFile, get_json, open_client
from duologue.hub.names import HF, MS, Repository
from duologue.transformer.strict_json import shown

HUGGING_FACE, MODELSCOPE = "https://huggingface.co", "https://modelscope.cn"
PROBE_S = 2.0
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
REQUIRED = ("config.json", "tokenizer.json")
OPTIONAL = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja", "README.md")
SMALL_BYTES = 100_000_000  # the largest that a file that is not weights may be
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_LICENSE = re.compile(r"LICENSE(\.(md|txt))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository that make a model folder, at one revision."""

    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """All files together, as far as the hub states it."""
        return sum(file.size_bytes or 0 for file in self.files)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a hub can be reached: after how many seconds it answered, or why it does not."""

    hub: Hub
    seconds: float
    failure: str | None


class Hub(Protocol):
    """A place that has repositories."""

    title: str
    endpoint: str

    def open_client(self) -> httpx2.Client:
        """A client for this hub, with the user's token where there is one."""

    def listing(self, client: httpx2.Client, repository: Repository) -> Listing:
        """The files of a model, each pinned to a commit; raises HubError where there is no usable model."""


class HuggingFace:
    """The Hugging Face hub, or a mirror of it that HF_ENDPOINT names."""

    title = "Hugging Face"

    def __init__(self, endpoint: str = HUGGING_FACE, token: str | None = None) -> None:
        """Connects to nothing yet."""
        self.endpoint = _checked(endpoint, "HF_ENDPOINT")
        self._token = token

    def open_client(self) -> httpx2.Client:
        """A client that shows HF_TOKEN to this host."""
        return open_client({"Authorization": f"Bearer {self._token}"} if self._token else None)

    def listing(self, client: httpx2.Client, repository: Repository) -> Listing:
        """The files at a revision; a branch is resolved to its commit first, and that commit is downloaded."""
        asked = quote(repository.revision or "main", safe="")
        answer = get_json(client, f"{self.endpoint}/api/models/{repository.id}/revision/{asked}?blobs=true")
        commit, siblings = _field(answer, "sha"), _field(answer, "siblings")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise HubError(f"{self.title} states no commit for {repository}")
        if _COMMIT.fullmatch(asked) and commit != asked:
            raise HubError(f"{self.title} answers for the commit {commit[:12]}; asked was {asked[:12]}")
        base = f"{self.endpoint}/{repository.id}/resolve/{commit}"
        return Listing(commit, wanted(self._file(base, entry) for entry in _objects(siblings)))

    def _file(self, base: str, entry: Mapping[str, Any]) -> RemoteFile:
        name, large = str(entry.get("rfilename")), entry.get("lfs")
        lfs = large if isinstance(large, Mapping) else {}
        # Of a large file, blobId is the id of a pointer to it, not of its content.
        checksum = Checksum.stated(sha256=lfs.get("sha256"), git=None if lfs else entry.get("blobId"))
        return RemoteFile(name, f"{base}/{quote(name)}", _size(lfs.get("size", entry.get("size"))), checksum)


class ModelScope:
    """ModelScope, at modelscope.cn or where MODELSCOPE_ENDPOINT says."""

    title = "ModelScope"

    def __init__(self, endpoint: str = MODELSCOPE) -> None:
        """Connects to nothing yet."""
        self.endpoint = _checked(endpoint, "MODELSCOPE_ENDPOINT")

    def open_client(self) -> httpx2.Client:
        """A client without any token."""
        return open_client()

    def listing(self, client: httpx2.Client, repository: Repository) -> Listing:
        """The files at a revision, each at the commit that last changed it and with its hash."""
        asked = repository.revision or "master"
        base = f"{self.endpoint}/api/v1/models/{repository.id}/repo"
        answer = get_json(client, f"{base}/files?{urlencode({'Revision': asked, 'Recursive': 'true'})}")
        data = _field(answer, "Data")
        entries = [entry for entry in _objects(_field(data, "Files")) if entry.get("Type") != "tree"]
        files = wanted(self._file(base, entry, asked) for entry in entries)
        last = data.get("LatestCommitter") if isinstance(data, Mapping) else None
        commit = last.get("Id") if isinstance(last, Mapping) else None
        return Listing(commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else asked, files)

    def _file(self, base: str, entry: Mapping[str, Any], asked: str) -> RemoteFile:
        name, commit = str(entry.get("Path")), str(entry.get("Revision"))
        place = {"Revision": commit if _COMMIT.fullmatch(commit) else asked, "FilePath": name}
        checksum = Checksum.stated(sha256=entry.get("Sha256"))
        return RemoteFile(name, f"{base}?{urlencode(place)}", _size(entry.get("Size")), checksum)


def hubs_from_environment() -> dict[str, Hub]:
    """Both hubs, where the user's variables say that they are."""
    settings = os.environ
    return {
        MS: ModelScope(settings.get("MODELSCOPE_ENDPOINT") or MODELSCOPE),
        HF: HuggingFace(settings.get("HF_ENDPOINT") or HUGGING_FACE, _token(settings.get("HF_TOKEN", "").strip())),
    }


def wanted(files: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The files that make a model folder: never code, never pickled weights, nothing in subfolders.

    Raises:
        HubError: a file that a model needs is missing, or one is larger than it can be.
    """
    by_name: dict[str, RemoteFile] = {}
    for file in files:
        by_name.setdefault(file.name, file)
    shards = [name for name in by_name if _SHARD.fullmatch(name)] if INDEX in by_name else []
    weights = [WEIGHTS] if WEIGHTS in by_name else [*([INDEX] if shards else []), *sorted(shards)]
    missing = [name for name in REQUIRED if name not in by_name] + ([] if weights else [WEIGHTS])
    if missing:
        raise HubError(f"the repository has no {' and no '.join(missing)}, which a model folder needs; weights in "
                       "other formats can run code when they are loaded, and are never taken")  # fmt: skip
    licenses = sorted(name for name in by_name if _LICENSE.fullmatch(name))
    small = [*REQUIRED, *(name for name in OPTIONAL if name in by_name), *licenses]
    for name in {*small, *weights} - {WEIGHTS, *shards}:
        if (by_name[name].size_bytes or 0) > SMALL_BYTES:
            raise HubError(f"{name}: would be {by_name[name].size_bytes:,} bytes; expected {SMALL_BYTES:,} at most")
    return tuple(by_name[name] for name in (*small, *weights))


def pinned_to(listing: Listing, weights_sha256: str | None) -> Listing:
    """The listing, its weights held against the hash that a known name has.

    Raises:
        HubError: the hub states another hash.
    """
    if weights_sha256 is None:
        return listing
    pin = Checksum("sha256", weights_sha256)
    (weights,) = [file for file in listing.files if file.name == WEIGHTS] or [RemoteFile(WEIGHTS, "")]
    if not weights.url or (weights.checksum is not None and weights.checksum != pin):
        raise HubError("the repository has other weights than those that this name stands for")
    pinned = (replace(file, checksum=pin) if file is weights else file for file in listing.files)
    return replace(listing, files=tuple(pinned))


def in_order_of_answer(hubs: Sequence[Hub]) -> Iterator[Answer]:
    """The hubs, asked all at once, each as soon as it answers; then those that do not, with the reason."""
    answers: queue.Queue[Answer] = queue.Queue()
    for hub in hubs:
        threading.Thread(target=_probe, args=(hub, answers), daemon=True).start()
    waiting, failed, end = list(hubs), [], time.monotonic() + PROBE_S
    while waiting:
        try:
            answer = answers.get(timeout=max(end - time.monotonic(), 0.0))
        except queue.Empty:
            break
        waiting.remove(answer.hub)
        if answer.failure is None:
            yield answer
        else:
            failed.append(answer)
    yield from failed
    yield from (Answer(hub, PROBE_S, "no answer in time") for hub in waiting)


def _probe(hub: Hub, answers: queue.Queue[Answer]) -> None:
    start, failure = time.monotonic(), None
    try:
        with open_client() as client:
            client.head(hub.endpoint, follow_redirects=False)
    except HubError as error:
        failure = str(error)
    except Exception as error:  # whatever it is, somebody waits for it
        failure = f"cannot be reached: {str(error) or type(error).__name__}"
    answers.put(Answer(hub, time.monotonic() - start, failure))


def _checked(endpoint: str, variable: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", endpoint):
        raise ConfigError(f"{variable}: is {endpoint!r}; expected an address such as https://hub.example")
    return endpoint.rstrip("/")


def _token(given: str) -> str | None:
    if not re.fullmatch(r"[!-~]*", given):
        raise ConfigError("HF_TOKEN: holds white space or other characters that no token has; copy the token again")
    return given or None


def _field(answer: object, name: str) -> Any:
    found = answer.get(name) if isinstance(answer, Mapping) else None
    if not found:
        raise HubError(f"the hub's answer holds no {name}: {shown(answer)}")
    return found


def _objects(entries: object) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
