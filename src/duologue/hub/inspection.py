"""A model that came from elsewhere is looked through before anything of it is used, and before torch is loaded.

Files that can run a program are refused by name, and so is what only looks like a model: sizes and offsets beyond the
file, JSON without end, templates that are programs, links and devices in place of files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from duologue.errors import ModelFolderError
from duologue.hub.file_kinds import SAFETENSORS, describe_unknown, head_of, refuse_other_kind, refuse_unread_weights
from duologue.hub.gguf_header import MAGIC, read_gguf_header
from duologue.tokenizer.template_guard import MAX_BYTES, check_template
from duologue.transformer.safetensors_header import read_safetensors_header
from duologue.transformer.strict_json import CHUNK_BYTES, check_json_shape, parse_object, shown

MIB = 1024 * 1024
MAX_ENTRIES = 10_000
CONFIG, INDEX, TOKENIZER = "config.json", "model.safetensors.index.json", "tokenizer.json"
TEMPLATE, GGUF_TEMPLATE = "chat_template.jinja", "tokenizer.chat_template"
# The small files that are read, and how long each may be.
JSON_BYTES = {
    CONFIG: 1 * MIB, "generation_config.json": 1 * MIB, "special_tokens_map.json": 1 * MIB,
    "adapter_config.json": 1 * MIB, "tokenizer_config.json": 4 * MIB, "chat_template.json": 1 * MIB, INDEX: 4 * MIB,
}  # fmt: skip
MAX_TOKENIZER_BYTES = 64 * MIB
# A vocabulary of 260,000 tokens with its merges as pairs has two and a half million brackets and commas.
MAX_TOKENIZER_PARTS = 4_000_000
# Fields by which a folder asks for its own programs to be run.
PROGRAM_FIELDS = frozenset({"auto_map", "custom_pipelines", "custom_pipeline", "custom_generate", "trust_remote_code"})
LARGEST = {
    "hidden_size": 2**20, "num_hidden_layers": 2**10, "num_attention_heads": 2**14, "num_key_value_heads": 2**14,
    "head_dim": 2**16, "intermediate_size": 2**24, "max_position_embeddings": 2**27, "vocab_size": 2**24,
}  # fmt: skip
REMEDY = "ask for the file again"


def inspect_model(path: Path) -> None:
    """Lets a model folder, or a GGUF file, pass that can be read without harm; nothing of it is run or kept.

    Raises:
        ModelFolderError: it cannot; the message says what was found, where, and the safe way.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            _inspect_folder(path)
        elif stat.S_ISREG(kind):
            _inspect_file(path)
        else:
            raise ModelFolderError(f"{path}: is {_special(kind)}; expected a model folder or a GGUF file")
    except OSError as error:
        raise ModelFolderError(_printable(f"{path}: cannot be read: {error.strerror or error}; {REMEDY}")) from None
    except ModelFolderError as error:
        raise ModelFolderError(_printable(str(error))) from None


def _printable(message: str) -> str:
    """One line, with nothing in it that a terminal would obey: names of files are the stranger's too."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)


def _inspect_file(path: Path) -> None:
    refuse_other_kind(path)
    head = head_of(path)
    if head.startswith(MAGIC):
        _inspect_gguf(path)
    elif path.suffix.lower() == ".safetensors" or SAFETENSORS.match(head):
        read_safetensors_header(path)
        raise ModelFolderError(f"{path}: is the weights alone; name the model folder that it belongs to")
    else:
        raise ModelFolderError(f"{path}: {describe_unknown(path)}")


def _inspect_gguf(path: Path) -> None:
    for key, value in read_gguf_header(path).metadata.items():
        if key == GGUF_TEMPLATE or key.startswith(f"{GGUF_TEMPLATE}."):
            _check_templates(value, where=f"{path} {key}")


def _inspect_folder(folder: Path) -> None:
    names = _regular_files(folder)
    refuse_unread_weights(folder, names)
    if CONFIG not in names:
        raise ModelFolderError(f"{folder}: has no {CONFIG}; expected a model folder")
    for name in sorted(names & JSON_BYTES.keys()):
        path = folder / name
        fields = parse_object(_read(path, JSON_BYTES[name]), where=str(path))
        _refuse_programs(path, fields)
        _inspect_fields(path, fields, names)
    for name in sorted(names):
        if name.endswith(".safetensors"):
            refuse_other_kind(folder / name)
            read_safetensors_header(folder / name)
    if TOKENIZER in names:
        _inspect_tokenizer(folder / TOKENIZER)
    if TEMPLATE in names:
        _check_templates(_text(folder / TEMPLATE), where=str(folder / TEMPLATE))


def _regular_files(folder: Path) -> set[str]:
    """The names of the files in the folder; links that lead out of it, and what is no file, are refused."""
    names = set()
    with os.scandir(folder) as entries:
        for num_entries, entry in enumerate(entries):
            if num_entries == MAX_ENTRIES:
                raise ModelFolderError(f"{folder}: holds more than {MAX_ENTRIES} files; expected a model folder")
            path = Path(entry.path)
            if entry.is_symlink():
                _check_link(folder, path)
            kind = entry.stat().st_mode
            if stat.S_ISREG(kind):
                names.add(entry.name)
            elif not stat.S_ISDIR(kind):
                raise ModelFolderError(f"{path}: is {_special(kind)}; expected a file or a folder in a model folder")
    return names


def _check_link(folder: Path, path: Path) -> None:
    target, home = (Path(os.path.realpath(place)) for place in (path, folder))
    # In a hub's own cache, all that a snapshot holds are links into the folder of blobs beside it.
    homes = [home, *([home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [])]
    if not any(target.is_relative_to(place) for place in homes):
        found = f"is a link out of the model folder, to {target}"
        raise ModelFolderError(f"{path}: {found}; put a copy of the file in its place if you trust it")
    if not target.exists():
        raise ModelFolderError(f"{path}: is a link to {target}, which does not exist; {REMEDY}")


def _special(kind: int) -> str:
    words = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return words.get(stat.S_IFMT(kind), "no regular file")


def _read(path: Path, max_bytes: int) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > max_bytes:
        raise ModelFolderError(f"{path}: is {size_bytes:,} bytes long; expected at most {max_bytes:,}; {REMEDY}")
    return path.read_bytes()


def _text(path: Path) -> str:
    try:
        return _read(path, MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFolderError(f"{path}: is not UTF-8 text; {REMEDY}") from None


def _refuse_programs(path: Path, fields: dict[str, Any]) -> None:
    for key, value in _all_fields(fields):
        if key in PROGRAM_FIELDS and value:
            found = f"{key} is {shown(value)}, which asks for programs that came with the model to be run"
            safe = "no such program is ever run here: ask for a model of a standard architecture as safetensors"
            raise ModelFolderError(f"{path}: {found}; {safe}")


def _all_fields(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    inner: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _all_fields(part)


def _inspect_fields(path: Path, fields: dict[str, Any], names: Container[str]) -> None:
    if path.name == CONFIG:
        _check_sizes(path, fields)
    if path.name == INDEX:
        _check_index(path, fields.get("weight_map"), names)
    if fields.get("chat_template") is not None:
        _check_templates(fields["chat_template"], where=str(path))


def _check_sizes(path: Path, fields: dict[str, Any]) -> None:
    for name, largest in LARGEST.items():
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
            found = f"{name} is {shown(value)}; expected a whole number from 1 to {largest}"
            raise ModelFolderError(f"{path}: {found}; {REMEDY}")


def _check_index(path: Path, files: object, names: Container[str]) -> None:
    if not isinstance(files, dict) or not files:
        raise ModelFolderError(f"{path}: weight_map is {shown(files)}; expected a file for each tensor; {REMEDY}")
    for name in files.values():
        is_plain = isinstance(name, str) and name == Path(name).name and "\\" not in name
        if not is_plain or not name.endswith(".safetensors"):
            expected = "expected the name of a safetensors file beside it, without a path"
            raise ModelFolderError(f"{path}: weight_map names {shown(name)}; {expected}; {REMEDY}")
        if name not in names:
            raise ModelFolderError(f"{path}: weight_map names {shown(name)}, which is not in the folder; {REMEDY}")


def _inspect_tokenizer(path: Path) -> None:
    """Only the outline is read here: the library that reads the rest is strict, and is given a file of sane size."""
    size_bytes = path.stat().st_size
    if size_bytes > MAX_TOKENIZER_BYTES:
        expected = f"expected at most {MAX_TOKENIZER_BYTES:,}"
        raise ModelFolderError(f"{path}: is {size_bytes:,} bytes long; {expected}; {REMEDY}")
    if head_of(path).lstrip()[:1] != b"{":
        raise ModelFolderError(f"{path}: is not a JSON object; expected a tokenizer; {REMEDY}")
    with path.open("rb") as file:
        check_json_shape(_chunks(file), where=str(path), max_items=MAX_TOKENIZER_PARTS)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _check_templates(found: object, *, where: str) -> None:
    """A template, or several as ``[{"name", "template"}, ...]``."""
    entries = found if isinstance(found, list) else [{"template": found}]
    for entry in entries:
        template = entry.get("template") if isinstance(entry, dict) else None
        if not isinstance(template, str):
            raise ModelFolderError(f"{where}: the chat template is {shown(entry)}; expected text; {REMEDY}")
        check_template(template, where=where)
