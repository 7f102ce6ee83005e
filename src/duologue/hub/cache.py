"""Where pulled models are kept: ``models/<name>/`` in the user's own folder, each with a ``pulled.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from duologue.errors import BusyError, HubError
from duologue.folder_lock import locked
from duologue.hub.names import folder_name, kept_name
from duologue.user_folder import home

RECORD = "pulled.json"


@dataclass(frozen=True, slots=True)
class PulledModel:
    """What ``pulled.json`` says of a model.

    Attributes:
        name: what users call it.
        source: where it came from.
        revision: what pins it there: a commit, a version, the hash of a file.
        sha256: the hash of its weights.
        files: the hash of each of its files.
    """

    name: str
    source: str
    revision: str
    sha256: str
    files: dict[str, str]


def models_folder() -> Path:
    """Where pulled models are."""
    return home() / "models"


def pulled_model(name: str) -> Path | None:
    """The model folder of a pulled model; None where none of that name is here."""
    folder = _folder(name)
    record = read_record(folder) if folder is not None else None
    return folder if record is not None and record.name == kept_name(name) else None


def pulled_models() -> list[tuple[Path, PulledModel]]:
    """All pulled models with their folders, by name."""
    folders = [path for path in sorted(models_folder().glob("*")) if not path.name.startswith(".")]
    return [(folder, record) for folder in folders if (record := read_record(folder)) is not None]


def read_record(folder: Path) -> PulledModel | None:
    """What was pulled into a folder; None where that cannot be known, or the model is not there."""
    try:
        record = PulledModel(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if (folder / "config.json").is_file() else None


@contextmanager
def partial_folder(name: str) -> Iterator[Path]:
    """The hidden folder in which a model is put together. It stays after a failure, so that a download can go on.

    Raises:
        HubError: it cannot be made, or another process is pulling the same model.
    """
    folder = _folder(name)
    assert folder is not None, name
    partial = folder.with_name(f".{folder.name}.partial")
    with ExitStack() as held:
        try:
            partial.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(partial.with_suffix(".lock")))
        except BusyError:
            raise HubError(f"{name} is being pulled by another process; wait until it is done") from None
        except OSError as error:
            raise HubError(f"{folder.parent}: cannot be written: {error.strerror}; set DUOLOGUE_HOME to a folder that "
                           "can") from None  # fmt: skip
        yield partial


def publish(partial: Path, record: PulledModel) -> Path:
    """Makes the partial folder the pulled model of that name: it appears whole, or the old one stays."""
    target = _folder(record.name)
    assert target is not None, record.name
    (partial / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    old = target.with_name(f".{target.name}.old")
    removed(old)
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    removed(old)
    return target


def keep_only(folder: Path, names: Collection[str]) -> None:
    """Takes everything out of a folder but the files of these names."""
    for path in folder.iterdir():
        if path.name not in names or not path.is_file() or path.is_symlink():
            removed(path)


def emptied(folder: Path) -> Path:
    """The folder, made anew with nothing in it."""
    removed(folder).mkdir()
    return folder


def removed(path: Path) -> Path:
    """The path, where now there is nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def _folder(name: str) -> Path | None:
    folder = folder_name(name)
    return models_folder() / folder if folder is not None else None
