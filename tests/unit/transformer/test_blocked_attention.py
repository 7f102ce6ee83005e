"""Attention in blocks by C++ against the formula in float64, on shapes that do not fit its blocks too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from duologue.transformer.attention import document_attention
from duologue.transformer.blocked_attention import blocked_attention, first_seen, is_blocked_attention_here

pytestmark = pytest.mark.skipif(
    not is_blocked_attention_here(torch.bfloat16, "cpu", 64), reason="needs AVX-512 BF16 and a C++ compiler"
)
# Results and weights are rounded to 8 bits on the way: half a unit of 2^-8, some of them.
TOLERANCE = 0.01


def random_case(B: int, T: int, H: int, K: int, D: int) -> tuple[Tensor, list[Tensor], Tensor]:
    """Documents of random lengths, queries, keys and values, and a gradient."""
    torch.manual_seed(T)
    documents = torch.sort(torch.randint(0, 4, (B, T)), dim=1).values
    documents[0] = 0  # a row that is one document
    inputs = [torch.randn(B, heads, T, D).bfloat16() for heads in (H, K, K)]
    return documents, inputs, torch.randn(B, H, T, D).bfloat16()


def exact(documents: Tensor, inputs: list[Tensor], gradient: Tensor) -> list[Tensor]:
    """What is found, and the gradients of queries, keys and values, by the formula."""
    q, k, v = (x.double().requires_grad_() for x in inputs)
    groups, places = q.shape[1] // k.shape[1], torch.arange(q.shape[2])
    is_seen = (documents[:, :, None] == documents[:, None, :]) & (places[:, None] >= places)
    scores = q @ k.repeat_interleave(groups, 1).mT / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~is_seen[:, None], float("-inf")).softmax(-1)
    found = weights @ v.repeat_interleave(groups, 1)
    found.backward(gradient.double())
    return [found, q.grad, k.grad, v.grad]


def ours(documents: Tensor, inputs: list[Tensor], gradient: Tensor) -> list[Tensor]:
    q, k, v = (x.clone().requires_grad_() for x in inputs)
    found = blocked_attention(documents)(0)(q, k, v)
    found.backward(gradient)
    return [found, q.grad, k.grad, v.grad]


@pytest.mark.parametrize(
    "shape",
    [(2, 64, 2, 2, 64), (3, 200, 4, 2, 64), (2, 256, 6, 3, 64), (1, 130, 4, 1, 32), (2, 77, 2, 2, 128),
     (2, 1, 2, 1, 16), (1, 321, 3, 3, 96), (2, 100, 2, 1, 48), (1, 15, 2, 2, 80)],
)  # fmt: skip
def test_it_finds_what_the_formula_finds_and_its_gradients(shape: tuple[int, int, int, int, int]) -> None:
    case = random_case(*shape)
    for found, expected in zip(ours(*case), exact(*case), strict=True):
        assert (found.double() - expected).abs().max() <= TOLERANCE * expected.abs().max()


def test_queries_and_keys_of_any_size_leave_no_holes() -> None:
    documents, (q, k, v), gradient = random_case(1, 150, 2, 2, 64)
    case = documents, [30 * q, 30 * k, v], gradient
    found, expected = ours(*case), exact(*case)
    assert all(torch.isfinite(x).all() for x in found)
    assert (found[0].double() - expected[0]).abs().max() <= TOLERANCE * expected[0].abs().max()


def test_what_is_no_number_is_not_hidden() -> None:
    documents, (q, k, v), gradient = random_case(1, 100, 2, 2, 64)
    q[0, 1, 70, 3] = torch.nan
    found, grad_q, grad_k, _ = ours(documents, [q, k, v], gradient)
    assert found[0, 1, 70].isnan().all()
    assert not found[0, 0].isnan().any()
    assert grad_q[0, 1, 70].isnan().all()
    assert grad_k[0, 1, 0].isnan().all()


def test_it_says_the_same_on_any_number_of_threads_and_each_time() -> None:
    case, before = random_case(3, 200, 4, 2, 64), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 1):
            torch.set_num_threads(threads)
            results.append(ours(*case))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for other in results[1:] for x, y in zip(results[0], other, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
def test_the_compiler_takes_it_as_it_is() -> None:
    documents, inputs, _ = random_case(2, 64, 2, 2, 64)
    attend = blocked_attention(documents)(0)
    compiled = torch.compile(lambda q, k, v: attend(2 * q, k, v), dynamic=False, fullgraph=True)
    q, k, v = inputs
    assert torch.equal(compiled(q, k, v), attend(2 * q, k, v))


def test_where_documents_begin() -> None:
    documents = torch.tensor([[1, 1, 2, 2, 2, 0], [5, 5, 5, 5, 5, 5]])
    assert first_seen(documents).tolist() == [[0, 0, 2, 2, 2, 5], [0] * 6]


def test_it_is_the_attention_of_all_other_machines() -> None:
    documents, inputs, _ = random_case(2, 100, 4, 2, 32)
    other = document_attention(documents)(0)(*(x.float() for x in inputs))
    assert torch.allclose(blocked_attention(documents)(0)(*inputs).float(), other, atol=0.02)


@pytest.mark.parametrize(("dtype", "head_dim"), [(torch.float32, 64), (torch.bfloat16, 24)])
def test_other_numbers_and_odd_widths_are_left_to_torch(dtype: torch.dtype, head_dim: int) -> None:
    assert not is_blocked_attention_here(dtype, "cpu", head_dim)
