"""The bytes are those that the safetensors library writes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from duologue.transformer.safetensors_chunks import CODES, safetensors_chunks


def test_the_same_bytes_as_the_library() -> None:
    torch.manual_seed(0)
    tensors = {f"weights.{i}": torch.randn(i, 3).to(dtype) for i, dtype in enumerate(CODES)}
    tensors |= {"step": torch.tensor(3.0), "turned": torch.randn(4, 5).T, "名": torch.ones(2)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    written = b"".join(bytes(chunk) for chunk in safetensors_chunks(tensors))
    for name, tensor in load(written).items():
        assert torch.equal(tensor, contiguous[name])
        assert tensor.dtype == contiguous[name].dtype
    assert load(written).keys() == tensors.keys()
    plain = {"b": torch.ones(3), "a": torch.zeros(2, 2)}
    assert b"".join(bytes(chunk) for chunk in safetensors_chunks(plain)) == save(plain)


@pytest.mark.parametrize("tensors", [{}, {"empty": torch.zeros(0, 4)}])
def test_nothing_is_written_as_well(tensors: dict[str, torch.Tensor]) -> None:
    assert load(b"".join(bytes(chunk) for chunk in safetensors_chunks(tensors))).keys() == tensors.keys()
