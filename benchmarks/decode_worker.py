"""One engine, held warm in a process of its own, maybe in another environment; started by benchmarks/decode.py.

It says READY, then answers each JSON line on its input ({"prompts": [[id]], "beams": 1, "new": 64}) with DONE and the
seconds that the replies to all these prompts, each of exactly so many tokens, took.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Ids = list[int]
Write = Callable[[list[Ids], int, int], list[Ids]]  # (prompts, beams, new tokens) -> the replies


def duologue(models: Path, dtype: str, threads: int) -> Write:
    import torch

    from duologue.generation.config import GenerationConfig
    from duologue.generation.engine import Engine

    torch.set_num_threads(threads)
    engine = Engine.from_pretrained(models / "hf", dtype=dtype)

    def write(prompts: list[Ids], beams: int, new: int) -> list[Ids]:
        engine.forget()
        config = GenerationConfig(num_beams=beams, min_new_tokens=new, max_new_tokens=new)
        return [found.sequences[0] for found in engine.generate_batch(prompts, config)]

    return write


def transformers(models: Path, dtype: str, threads: int) -> Write:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(models / "hf", dtype=getattr(torch, dtype)).eval()
    model.generation_config.eos_token_id = None

    def write(prompts: list[Ids], beams: int, new: int) -> list[Ids]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            found = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beams,
                                   max_new_tokens=new, min_new_tokens=new, pad_token_id=0)  # fmt: skip
        return found[:, ids.shape[1] :].tolist()

    return write


def ctranslate2(models: Path, dtype: str, threads: int) -> Write:
    import ctranslate2 as engine
    from ctranslate2.converters import TransformersConverter

    folder = models / f"ctranslate2-{dtype}"
    if not folder.is_dir():
        TransformersConverter(str(models / "hf")).convert(str(folder), quantization=dtype)
    generator = engine.Generator(str(folder), compute_type=dtype, inter_threads=1, intra_threads=threads)
    names = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))

    def write(prompts: list[Ids], beams: int, new: int) -> list[Ids]:
        found = generator.generate_batch(
            [[names[token] for token in prompt] for prompt in prompts], beam_size=beams, sampling_topk=1,
            max_length=new, min_length=new, include_prompt_in_result=False, end_token=[names[0]],
        )  # fmt: skip
        return [one.sequences_ids[0] for one in found]

    return write


def llama_cpp(models: Path, dtype: str, threads: int) -> Write:
    """By the C functions, as its own server calls them: one batch for all streams."""
    import ctypes

    import llama_cpp as c
    import numpy as np

    c.llama_backend_init()
    c.llama_log_set(c.llama_log_callback(lambda level, text, data: None), ctypes.c_void_p(0))
    path = str(models / f"{dtype}.gguf").encode()
    model = c.llama_model_load_from_file(path, c.llama_model_default_params())
    vocab_size = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    contexts: dict[int, object] = {}

    def context(streams: int):
        if streams not in contexts:
            wanted = c.llama_context_default_params()
            wanted.n_ctx, wanted.n_batch, wanted.n_ubatch, wanted.n_seq_max = 4096, 4096, 512, streams
            wanted.n_threads = wanted.n_threads_batch = threads
            contexts[streams] = c.llama_init_from_model(model, wanted), c.llama_batch_init(4096, 0, streams)
        return contexts[streams]

    def fill(batch, rows) -> None:
        batch.n_tokens = len(rows)
        for place, (token, position, stream, is_last) in enumerate(rows):
            batch.token[place], batch.pos[place], batch.logits[place] = token, position, is_last
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, stream

    def best(running, place: int) -> int:
        return int(np.ctypeslib.as_array(c.llama_get_logits_ith(running, place), (vocab_size,)).argmax())

    def write(prompts: list[Ids], beams: int, new: int) -> list[Ids]:
        if beams > 1:
            raise ValueError("llama.cpp has no beam search")
        running, batch = context(len(prompts))
        c.llama_memory_clear(c.llama_get_memory(running), True)
        found: list[Ids] = [[] for _ in prompts]
        rows = [(token, at, stream, at == len(prompt) - 1)
                for stream, prompt in enumerate(prompts) for at, token in enumerate(prompt)]  # fmt: skip
        ends = [place for place, row in enumerate(rows) if row[3]]
        for step in range(new):
            fill(batch, rows)
            if c.llama_decode(running, batch):
                raise RuntimeError("llama_decode failed")
            for stream, place in enumerate(ends):
                found[stream].append(best(running, place))
            rows = [(reply[-1], len(prompts[0]) + step, stream, True) for stream, reply in enumerate(found)]
            ends = list(range(len(prompts)))
        return found

    return write


def main() -> None:
    """Loads the engine and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("duologue", "transformers", "ctranslate2", "llama_cpp"))
    parser.add_argument("models", type=Path)
    parser.add_argument("dtype")
    parser.add_argument("threads", type=int)
    given = parser.parse_args()
    write: Write = globals()[given.engine](given.models, given.dtype, given.threads)
    print("READY {}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        found = write(asked["prompts"], asked["beams"], asked["new"])
        seconds = time.perf_counter() - start
        wrong = [reply for reply in found if len(reply) != asked["new"]]
        if wrong:
            sys.exit(f"{given.engine}: a reply of {len(wrong[0])} tokens where {asked['new']} were asked for")
        print("DONE " + json.dumps({"seconds": seconds, "replies": found}), flush=True)


if __name__ == "__main__":
    main()
