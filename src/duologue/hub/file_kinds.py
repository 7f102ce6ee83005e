"""What a file is, told by its first bytes and not by its name, and what to do with one that is not read here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from duologue.errors import ModelFolderError
from duologue.transformer.strict_json import shown

HEAD_BYTES = 4096
CONVERT = "ask for the model as safetensors, or have it converted to safetensors by whoever you trust with it"
UNPACK = "unpack it yourself and name the model folder in it"
PICKLE = "is a Python pickle, which can run any program when it is opened"

# (where in the file, the bytes there, what the file is and the safe way)
SIGNATURES = (
    (0, b"version https://git-lfs", "is a Git LFS pointer, not the file itself; fetch that with git lfs pull"),
    (0, b"\x93NUMPY", f"is a NumPy array, which can hold pickled objects; {CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"is an HDF5 file (Keras); {CONVERT}"),
    (0, b"\x1f\x8b", f"is compressed with gzip; {UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"is compressed with zstd; {UNPACK}"),
    (0, b"\xfd7zXZ\x00", f"is compressed with xz; {UNPACK}"),
    (0, b"BZh", f"is compressed with bzip2; {UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {UNPACK}"),
    (257, b"ustar", f"is a tar archive; {UNPACK}"),
    (0, b"\x7fELF", f"is a program; {CONVERT}"),
    (0, b"MZ", f"is a program; {CONVERT}"),
    (0, b"#!", f"is a program; {CONVERT}"),
    *((0, b"\x80" + bytes([protocol]), f"{PICKLE}; {CONVERT}") for protocol in range(2, 6)),
)
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
# Pickles of protocol 0 and 1 have no mark of their own: these begin by naming a function, a tuple, a list or a dict.
OLD_PICKLE = re.compile(rb"c[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n|[\](}][q(]|\((?:lp|dp|tp|i[A-Za-z_])|\(c[A-Za-z_]")
PYTHON = re.compile(rb"(?m)^(?:import|from|def|class|async def) +[A-Za-z_]")
PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)
NOT_IN_TEXT = frozenset(range(32)) - frozenset(b"\t\n\f\r")
SAFETENSORS = re.compile(rb".{8}\{", re.DOTALL)
# Weights in formats that can run programs, or that nothing here reads.
UNREAD_WEIGHTS = {
    ".bin": "a PyTorch pickle", ".pt": "a PyTorch pickle", ".pth": "a PyTorch pickle", ".ckpt": "a PyTorch pickle",
    ".pkl": "a Python pickle", ".pickle": "a Python pickle", ".joblib": "a Python pickle",
    ".npy": "a NumPy array, which can hold pickled objects", ".npz": "NumPy arrays, which can hold pickled objects",
    ".h5": "HDF5 (Keras)", ".keras": "Keras", ".msgpack": "Flax", ".onnx": "ONNX",
}  # fmt: skip


def head_of(path: Path) -> bytes:
    """The first bytes of a regular file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def refuse_other_kind(path: Path) -> None:
    """Lets what may be GGUF, safetensors or text pass; raises ModelFolderError that says what anything else is."""
    head = head_of(path)
    if SAFETENSORS.match(head):
        return  # its first eight bytes are a number, whatever they look like
    for place, mark, answer in SIGNATURES:
        if head.startswith(mark, place):
            raise ModelFolderError(f"{path}: {answer}")
    if head.startswith(ZIP):
        raise ModelFolderError(f"{path}: {_zip_answer(head)}")
    if OLD_PICKLE.match(head):
        raise ModelFolderError(f"{path}: {PICKLE}; {CONVERT}")
    if PAGE.match(head):
        found = "is a web page, perhaps a failed download"
        raise ModelFolderError(f"{path}: {found}; fetch the file itself again")


def describe_unknown(path: Path) -> str:
    """What a file is that is neither GGUF nor safetensors nor any known kind, and the safe way."""
    head = head_of(path)
    expected = "expected a model folder (config.json, model.safetensors, tokenizer.json) or a GGUF file"
    if not head:
        return f"is empty; {expected}"
    if path.suffix.lower() in UNREAD_WEIGHTS:
        return f"is named as {UNREAD_WEIGHTS[path.suffix.lower()]}; {CONVERT}"
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON; name the model folder that it belongs to"
    if path.suffix == ".py" or PYTHON.search(head):
        return f"is a Python program, and no program that comes with a model is ever run; {expected}"
    if not NOT_IN_TEXT.intersection(head):
        return f"is text, which begins with {shown(head[:24])}; {expected}"
    return f"is of no known kind: it begins with {shown(head[:8])}; {expected}"


def refuse_unread_weights(folder: Path, names: Iterable[str]) -> None:
    """Raises ModelFolderError where a folder's only weights are in formats that are not read here."""
    names = sorted(names)
    if any(name.endswith((".safetensors", ".gguf")) for name in names):
        return
    for name in names:
        if what := UNREAD_WEIGHTS.get(Path(name).suffix.lower()):
            found = f"its weights, {shown(name)}, are never opened: the name says {what}"
            raise ModelFolderError(f"{folder}: {found}; {CONVERT}")


def _zip_answer(head: bytes) -> str:
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first.endswith(b".npy"):
        return f"is a zip archive of NumPy arrays, which can hold pickled objects; {CONVERT}"
    if b"data.pkl" in head:
        return f"is a PyTorch file, a zip archive around a pickle, which can run any program when opened; {CONVERT}"
    return f"is a zip archive, and archives are never opened; {UNPACK}; if it is a PyTorch file (.pt, .bin), {CONVERT}"
