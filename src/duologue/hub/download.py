"""One file over HTTP, resumable and verified.

What has come so far is kept beside the target as ``NAME.part``, through Ctrl-C and broken connections. It is carried on
with a Range request where the new file is certain to be the same one: by the checksum that the hub states, or by
``If-Range`` with the ETag that the first answer gave.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2

from duologue import __version__
from duologue.errors import HubError
from duologue.hub.hashes import sha256_of

T = TypeVar("T")
CONNECT_S, READ_S = 2.0, 15.0
NUM_RETRIES, PAUSE_S = 3, 0.5  # the pause doubles each time
PROGRESS_BYTES = 1 << 20  # an attempt that brought this much was no failure: large files outlive many broken lines
LISTING_BYTES = 10_000_000
BUSY = (408, 425, 429, 500, 502, 503, 504)

OnBytes = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a hub says of a file's content: SHA-256, or the id that git gives to a file of that content."""

    kind: Literal["sha256", "git"]
    value: str

    @classmethod
    def stated(cls, *, sha256: object = None, git: object = None) -> Checksum | None:
        """The better one of what a hub states; None where neither is a hash."""
        if isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
            return cls("sha256", sha256.lower())
        return cls("git", git.lower()) if isinstance(git, str) and re.fullmatch(r"[0-9a-fA-F]{40}", git) else None

    def of(self, path: Path) -> Checksum:
        """The checksum of the same kind of a file on the disk."""
        return Checksum(self.kind, sha256_of(path) if self.kind == "sha256" else _git_id(path))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a hub: its name there, and what the hub states of it."""

    name: str
    url: str
    size_bytes: int | None = None
    checksum: Checksum | None = None


class BrokenError(HubError):
    """The connection broke, or the server was busy: worth another try."""


def open_client(headers: Mapping[str, str] | None = None) -> httpx2.Client:
    """An HTTP client that does not wait long. An authorization goes to the first host only, not where it redirects.

    Raises:
        HubError: the proxy that the environment names cannot be used.
    """
    timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
    own = {"User-Agent": f"duologue/{__version__}", "Accept-Encoding": "identity"}
    try:
        return httpx2.Client(timeout=timeout, follow_redirects=True, headers={**own, **(headers or {})})
    except (ImportError, ValueError, httpx2.InvalidURL) as error:  # of SOCKS, and of what is no address
        remedy = "set HTTPS_PROXY and ALL_PROXY to an HTTP proxy, or unset them"
        raise HubError(f"the proxy of the environment cannot be used: {error}; {remedy}") from None


def get_json(client: httpx2.Client, url: str) -> Any:
    """The JSON document at an address.

    Raises:
        HubError: there is none; the message says what the server answered.
    """

    def get() -> bytes:
        body = bytearray()
        with client.stream("GET", url) as response:
            _require_ok(response)
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > LISTING_BYTES:
                    raise HubError(f"{_host(url)} sends a listing of more than {LISTING_BYTES:,} bytes")
        return bytes(body)

    answer = _persist(lambda: _over_http(url, get), progress=lambda: 0)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise HubError(f"{_host(url)} answers something other than JSON: {answer[:60]!r}") from None


def download(client: httpx2.Client, file: RemoteFile, target: Path, *, on_bytes: OnBytes = lambda done: None) -> None:
    """Brings a file, carrying on with what is there of it.

    Raises:
        HubError: it cannot be had, has another size than stated, or its checksum is wrong.
    """
    part = target.with_name(f"{target.name}.part")

    def get() -> RemoteFile:
        return _over_http(file.url, lambda: _receive(client, file, part, on_bytes))

    _verify(_persist(get, progress=lambda: _size(part)), part)
    _note(part).unlink(missing_ok=True)
    part.replace(target)


def _receive(client: httpx2.Client, file: RemoteFile, part: Path, on_bytes: OnBytes) -> RemoteFile:
    """One request, and what comes of it; gives the file with all that is now known of it."""
    if file.size_bytes is not None and _size(part) == file.size_bytes and _can_continue(file, part):
        return file
    with client.stream("GET", file.url, headers=_resume_headers(file, part)) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise BrokenError(f"{file.name}: the server does not carry on where the download stopped")
        _require_ok(response)
        file = _with_linked_checksum(file, response)
        begin, total = _range_of(response, file, part)
        _require_space(part, total - begin)
        with open(part, "ab" if begin else "wb") as out:
            _write_note(file, part, response)  # only once what it does not describe is gone
            done = begin
            for chunk in response.iter_bytes():
                done += len(chunk)
                if done > total:
                    break
                out.write(chunk)
                on_bytes(done)
    if done > total:
        part.unlink()
        raise HubError(f"{file.name}: more came than the {total:,} bytes that were stated; the download was stopped")
    if done < total:
        raise BrokenError(f"{file.name}: the connection ended after {done:,} of {total:,} bytes")
    return file


def _with_linked_checksum(file: RemoteFile, response: httpx2.Response) -> RemoteFile:
    """Large files are kept elsewhere, and the hub that sends us there says which content to expect."""
    linked = (hop.headers.get("x-linked-etag", "").strip('"') for hop in response.history)
    found = (checksum for value in linked if (checksum := Checksum.stated(sha256=value)))
    return replace(file, checksum=file.checksum or next(found, None))


def _range_of(response: httpx2.Response, file: RemoteFile, part: Path) -> tuple[int, int]:
    """At which byte the answer begins, and the size of the whole file."""
    found: int | None
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", ""))
        if match is None or int(match[1]) != _size(part):
            part.unlink(missing_ok=True)
            raise BrokenError(f"{file.name}: the server sends another range than was asked for")
        begin, found = int(match[1]), int(match[2])
    else:
        length = response.headers.get("content-length", "")
        begin, found = 0, int(length) if length.isdigit() and "content-encoding" not in response.headers else None
    if found is None and file.size_bytes is None:
        raise HubError(f"{file.name}: neither the hub nor the server states its size")
    if None not in (found, file.size_bytes) and found != file.size_bytes:
        raise HubError(f"{file.name}: has {found:,} bytes; the hub states {file.size_bytes:,}")
    return begin, found if found is not None else file.size_bytes or 0


def _require_ok(response: httpx2.Response) -> None:
    host, status = response.url.host, response.status_code
    if status in (401, 403):
        raise HubError(f"{host} answers {status}: not public, or there is none of that name; HF_TOKEN opens what is "
                       "yours on the Hugging Face hub")  # fmt: skip
    if status == 404:
        raise HubError(f"{host} answers 404: there is none of that name and revision")
    if status in BUSY:
        raise BrokenError(f"{host} answers {status}")
    if status not in (200, 206):
        raise HubError(f"{host} answers {status}; expected 200")


def _over_http(url: str, action: Callable[[], T]) -> T:
    """Does it; what goes wrong on the way becomes ours."""
    try:
        return action()
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
        raise HubError(f"{_host(url)} cannot be reached: {_reason(error)}") from None
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise BrokenError(f"{_host(url)}: {_reason(error)}") from None


def _persist(action: Callable[[], T], *, progress: Callable[[], int]) -> T:
    """Does it, again and again where the connection broke, until nothing comes of it any more."""
    failures = 0
    while True:
        before = progress()
        try:
            return action()
        except BrokenError as error:
            failures = 1 if progress() - before >= PROGRESS_BYTES else failures + 1
            if failures > NUM_RETRIES:
                raise HubError(f"{error}, {failures} times") from None
        time.sleep(PAUSE_S * 2 ** (failures - 1))


def _verify(file: RemoteFile, part: Path) -> None:
    if file.checksum is None:
        return
    found = file.checksum.of(part)
    if found != file.checksum:
        part.unlink()
        raise HubError(f"{file.name}: its checksum is {found.value[:12]}..., expected {file.checksum.value[:12]}...; "
                       "what came is deleted")  # fmt: skip


def _resume_headers(file: RemoteFile, part: Path) -> dict[str, str]:
    if not _size(part) or not _can_continue(file, part):
        return {}
    note = _read_note(part)
    same_place = {"If-Range": note["etag"]} if note.get("url") == file.url and note.get("etag") else {}
    return {"Range": f"bytes={_size(part)}-"} | same_place


def _can_continue(file: RemoteFile, part: Path) -> bool:
    """Whether the part certainly belongs to this file, or the server can tell by the ETag whether it does."""
    if file.size_bytes is not None and _size(part) > file.size_bytes:
        return False
    note = _read_note(part)
    if file.checksum is not None:
        return note.get("checksum") == file.checksum.value
    is_unfinished = file.size_bytes is None or _size(part) < file.size_bytes
    return is_unfinished and note.get("url") == file.url and bool(note.get("etag"))


def _write_note(file: RemoteFile, part: Path, response: httpx2.Response) -> None:
    etag = response.headers.get("etag", "")
    strong = "" if etag.startswith("W/") else etag
    note = {"url": file.url, "etag": strong, "checksum": file.checksum.value if file.checksum else ""}
    _note(part).write_text(json.dumps(note), encoding="utf-8")


def _read_note(part: Path) -> dict[str, str]:
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _require_space(part: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(part.parent).free
    if free_bytes < needed_bytes:
        raise HubError(f"{part.parent}: {needed_bytes / 1e6:,.0f} MB are needed and {free_bytes / 1e6:,.0f} MB free; "
                       "make space, or set DUOLOGUE_HOME to a folder on another disk")  # fmt: skip


def _git_id(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _reason(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {CONNECT_S if isinstance(error, httpx2.ConnectTimeout) else READ_S:.0f} s"
    return str(error) or type(error).__name__
