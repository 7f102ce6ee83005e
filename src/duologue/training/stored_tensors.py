"""The tensors of a checkpoint: whole in one file each, or in parts that several processes wrote, as safetensors.

torch's distributed checkpoints put the parts together again, for any number of processes. They usually keep their
metadata as a pickle, which runs what it is told to when it is read; here they write and read safetensors alone, whose
headers say where each part belongs. Each header is checked before torch sees the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from duologue.durable_files import Fingerprint, fingerprint
from duologue.errors import ModelFolderError, RunFolderError
from duologue.training.world import World
from duologue.transformer.safetensors_header import read_safetensors_header

SHARD = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")


class StoredTensors(Mapping[str, Tensor]):
    """The tensors that lie in a folder's safetensors files, by name; a tensor is read when it is asked for."""

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Those that ``shapes`` names."""
        self._folder, self.shapes = folder, dict(shapes)

    @classmethod
    def open(cls, folder: Path) -> StoredTensors:
        """All that lie in a folder.

        Raises:
            RunFolderError: a file's header is damaged.
        """
        try:
            headers = [read_safetensors_header(path) for path in sorted(folder.glob("*.safetensors"))]
        except ModelFolderError as error:
            raise RunFolderError(str(error)) from None
        if is_in_parts(folder):
            from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

            stored: dict[str, Any] = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
            return cls(folder, {name: tuple(found.size) for name, found in stored.items()})
        return cls(folder, {name: found.shape for header in headers for name, found in header.items()})

    def only(self, names: set[str]) -> StoredTensors:
        """Some of them."""
        return StoredTensors(self._folder, {name: self.shapes[name] for name in sorted(names)})

    def shapes_of(self, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Shapes by name."""
        return {name: self.shapes[name] for name in names}

    def copy_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills tensors by name; of a tensor that lies in parts, this process's part."""
        if is_in_parts(self._folder) or any(hasattr(tensor, "full_tensor") for tensor in tensors.values()):
            from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
            from torch.distributed.checkpoint.state_dict_loader import load

            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="torch.distributed is disabled")
                load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(self._folder)), no_dist=True)
            return
        for path in sorted(self._folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name in tensors.keys() & file.keys():
                    tensors[name].detach().copy_(file.get_tensor(name))

    def __getitem__(self, name: str) -> Tensor:
        """One tensor, whole."""
        tensor = torch.empty(self.shapes[name])
        self.copy_into({name: tensor})
        return tensor

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self.shapes)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.shapes)


def write_parts(folder: Path, tensors: Mapping[str, Tensor], world: World) -> dict[str, Fingerprint]:
    """Writes the tensors of all processes, each its share; what several hold alike is written once.

    Returns:
        In the first process what was written, by the file's name.

    Raises:
        OSError: a process could not write.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        save(dict(tensors), storage_writer=writer, process_group=world.host)
    except CheckpointException as error:
        raise next((cause for cause, _ in error.failures.values() if isinstance(cause, OSError)), error) from None
    mine = folder.glob(f"shard-{world.rank + 1:05d}-*")
    written = world.gather({path.name: vars(fingerprint(path)) for path in mine})
    return {name: Fingerprint(**fields) for part in written for name, fields in part.items()}


def is_in_parts(folder: Path) -> bool:
    """Whether several processes wrote a folder's tensors."""
    return any(SHARD.fullmatch(path.name) for path in folder.glob("shard-*"))
