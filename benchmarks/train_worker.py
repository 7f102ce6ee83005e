"""One way of training, held warm in a process of its own; started by benchmarks/train.py.

It says READY with its first step's time, then takes as many steps for each line on its input as the line says, and
answers with a JSON line. The peers' own classes are imported from a folder with their source trees.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Step = Callable[[np.ndarray], float]  # tokens [rows, length + 1] -> loss
HEAD_DIM = 64


def ours(shape: dict[str, int], options: set[str]) -> Step:
    from duologue.runtime import keep_freed_memory
    from duologue.training.config import StageConfig
    from duologue.training.timed_step import TimedStep
    from duologue.transformer.config import TransformerConfig

    keep_freed_memory()
    heads = shape["hidden"] // HEAD_DIM
    model = TransformerConfig(
        hidden_size=shape["hidden"], num_hidden_layers=shape["layers"], num_attention_heads=heads,
        num_key_value_heads=heads, head_dim=HEAD_DIM, intermediate_size=shape["intermediate"],
        max_position_embeddings=shape["length"],
    )  # fmt: skip
    config = StageConfig(
        sequence_length=shape["length"], batch_tokens=shape["rows"] * shape["length"],
        micro_batch_tokens=shape["micro"] * shape["length"], learning_rate=1e-3, embedding_learning_rate=1e-3,
        matrix_optimizer="muon" if "muon" in options else "adamw", native="off" if "torch" in options else "auto",
    )  # fmt: skip
    dtype = "float32" if "fp32" in options else "bfloat16"
    step = TimedStep(model, config, vocab_size=shape["vocab"], dtype=dtype, is_compiled="eager" not in options)
    return lambda tokens: step.take(tokens).loss


def nanogpt(shape: dict[str, int], options: set[str]) -> Step:
    """As its train.py does: AdamW, clipping, and on a CPU float32; bf16 is autocast, which it only has on GPUs."""
    import torch
    from model import GPT, GPTConfig

    model = GPT(GPTConfig(
        block_size=shape["length"], vocab_size=shape["vocab"], n_layer=shape["layers"],
        n_head=shape["hidden"] // HEAD_DIM, n_embd=shape["hidden"], dropout=0.0, bias=False,
    ))  # fmt: skip
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    forward = torch.compile(model) if "compile" in options else model

    return _clipped_step(model, optimizer, lambda x, y: forward(x, y)[1], options)


def nanochat(shape: dict[str, int], options: set[str]) -> Step:
    """As its base_train.py does: its own model, Muon and AdamW; NANOCHAT_DTYPE is its way to bf16."""
    os.environ["NANOCHAT_DTYPE"] = "bfloat16" if "bf16" in options else "float32"
    import torch
    from nanochat.gpt import GPT, GPTConfig

    heads = shape["hidden"] // HEAD_DIM
    with torch.device("meta"):
        model = GPT(GPTConfig(
            sequence_len=shape["length"], vocab_size=shape["vocab"], n_layer=shape["layers"], n_head=heads,
            n_kv_head=heads, n_embd=shape["hidden"], window_pattern="L",
        ))  # fmt: skip
    model.to_empty(device="cpu")
    model.init_weights()
    optimizer = model.setup_optimizer()
    forward = torch.compile(model, dynamic=False) if "compile" in options else model

    def step(tokens: np.ndarray) -> float:
        loss = forward(*_pair(tokens))
        loss.backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        return loss.item()

    return step


def transformers(shape: dict[str, int], options: set[str]) -> Step:
    """Qwen3 of transformers, PyTorch's attention kernel, fused AdamW."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    heads = shape["hidden"] // HEAD_DIM
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=shape["vocab"], hidden_size=shape["hidden"], intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"], num_attention_heads=heads, num_key_value_heads=heads, head_dim=HEAD_DIM,
        max_position_embeddings=shape["length"], tie_word_embeddings=True, attn_implementation="sdpa",
    ))  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    forward = torch.compile(model) if "compile" in options else model

    loss_of = lambda x, y: forward(input_ids=x, labels=x, use_cache=False).loss  # noqa: E731
    return _clipped_step(model, optimizer, loss_of, options)


def gemm(shape: dict[str, int], options: set[str]) -> Step:
    """The machine's own speed: a bf16 matrix product of 2048 x 2048 x 2048, ten times."""
    import torch

    a = torch.randn(2048, 2048).to(torch.float32 if "fp32" in options else torch.bfloat16)

    def step(tokens: np.ndarray) -> float:
        for _ in range(10):
            a @ a
        return 0.0

    return step


KINDS = {"ours": ours, "nanogpt": nanogpt, "nanochat": nanochat, "transformers": transformers, "gemm": gemm}


def _clipped_step(model: Any, optimizer: Any, loss_of: Callable[[Any, Any], Any], options: set[str]) -> Step:
    """Forward, backward, clipping and update, as nanoGPT and most others do them."""
    import torch

    def step(tokens: np.ndarray) -> float:
        with _autocast(options):
            loss = loss_of(*_pair(tokens))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def _pair(tokens: np.ndarray) -> tuple[Any, Any]:
    import torch

    rows = torch.from_numpy(tokens)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def _autocast(options: set[str]) -> Any:
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16) if "bf16" in options else contextlib.nullcontext()


def batches(path: Path, rows: int, length: int) -> Any:
    """Rows from all over a text's tokens, the same for everyone."""
    tokens, generator = np.load(path), np.random.default_rng(0)
    while True:
        starts = generator.integers(0, len(tokens) - length - 1, rows)
        yield np.stack([tokens[start : start + length + 1] for start in starts]).astype(np.int64)


def main() -> None:
    """Serves steps until its input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", help="peer[+option...], such as ours+muon or nanogpt+bf16+compile")
    parser.add_argument("shape", type=json.loads)
    parser.add_argument("tokens", type=Path, help="tokens of a text, an .npy file")
    parser.add_argument("--peers", type=Path, help="folder with the source trees nanoGPT and nanochat")
    arguments = parser.parse_args()
    name, *options = arguments.variant.split("+")
    if arguments.peers:
        sys.path[:0] = [str(arguments.peers / folder) for folder in ("nanoGPT", "nanochat")]
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)
    shape = arguments.shape
    data = batches(arguments.tokens, shape["rows"], shape["length"])
    start = time.perf_counter()
    step = KINDS[name](shape, set(options))
    step(next(data))
    first_s = time.perf_counter() - start
    step(next(data))
    print("READY", json.dumps({"first_step_s": first_s}), flush=True)
    for line in sys.stdin:
        taken = []
        for _ in range(int(line)):
            rows, start = next(data), time.perf_counter()
            loss = step(rows)
            taken.append(time.perf_counter() - start)
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print("DONE", json.dumps({"seconds": taken, "loss": loss, "peak_gib": peak_gib}), flush=True)


if __name__ == "__main__":
    main()
