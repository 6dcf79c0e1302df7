"""How fast chat is, alone and in company: `python launch.py bench chat`.

The engine that serves the page, on the embedded model, everybody with an adapter of their own; beside it, in the same
run, transformers' `generate` with PEFT on the same 4-bit weights, and llama.cpp on the file that the embedded model
comes from (without adapters). Every reply has the same length: ends of turns are not looked for.

- `tok_s_N`: N people, N adapters, together, from the second token on; `tok_s_1_base`: no adapter.
- `first_token_ms_N`: N tokens of context that nobody has read before.
- `second_turn_share`: time to the first token of the second turn of a 1,000-token conversation, of the first turn's.
- `while_learning_share`: the speed of one person's reply while a learner trains at its priority, of the idle machine's.
- `swap_pause_ms`: longest wait between two tokens of a running reply while another adapter is loaded and one is
  removed, beyond the longest without; `swap_ms`: from asking for the adapter to its being there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch

from assistant.cores import aside
from assistant.engine import Engine, Generation
from assistant.supervisor import lower_priority
from benchmarks import chat_peers
from benchmarks.results import Result
from data.home import CHECKOUT
from learner.config import LoraSettings
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.modeling.loading import load_base
from learner.modeling.lora import save_adapter

MODELS = CHECKOUT / "build" / "bench" / "models"
PEOPLE = (1, 2, 4, 8)
CONTEXTS = (50, 500, 2000)


def main(options: argparse.Namespace) -> Result:
    tokens, repeats = (24, 1) if options.quick else (96, 5)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as name:
        figures, intervals = measure(tokens, repeats, Path(name))
        if not options.quick:  # each in a process of its own, one after the other
            folders = sorted(Path(name).iterdir())[: max(PEOPLE)]
            figures |= chat_peers.transformers_peft(MODELS, folders, PEOPLE, CONTEXTS, tokens, repeats)
            figures |= chat_peers.llama_cpp(CONTEXTS, tokens, repeats)
            for n in PEOPLE:
                figures[f"times_peft_{n}"] = figures[f"tok_s_{n}"] / figures[f"tok_s_{n}_peft"]
    return Result(
        "chat", "embedded", {"tokens": tokens, "repeats": repeats}, figures, time.monotonic() - started,
        intervals=intervals, limits={"second_turn_share": 0.2, "swap_pause_ms": 100.0},
        at_least={
            "tok_s_1": 60.0, "adapter_on_off_ratio": 0.9, "tok_s_8": 240.0, "while_learning_share": 0.5,
        },
    )  # fmt: skip


def measure(
    tokens: int, repeats: int, folder: Path
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Our own figures (medians), and the smallest and largest of what was measured. Writes adapters to `folder`."""
    before = psutil.Process().memory_info().rss
    base = aside(lambda: load_base("embedded", MODELS, device="cpu", trainable=False))
    figures = {"memory_mb": (psutil.Process().memory_info().rss - before) / 2**20}
    base.eos_ids = set()
    folders = [folder / f"adapter{i}" for i in range(max(PEOPLE) + 1)]
    aside(lambda: [write_adapter(base, adapter, seed=i) for i, adapter in enumerate(folders)])
    for i, adapter in enumerate(folders[:-1]):
        aside(partial(base.load_adapter, f"a{i}", adapter))
    engine = Engine(base, max_rows=max(PEOPLE))
    bench = _Bench(engine, base, tokens)
    runs: dict[str, list[float]] = {}

    def add(key: str, value: float) -> None:
        runs.setdefault(key, []).append(value)

    bench.speed([None])  # everything once: first calls pay for what later ones find
    with learning():
        for _ in range(repeats):
            add("tok_s_1_while_learning", bench.speed(["a0"]))
    for _ in range(repeats):  # in turns, so that a slow minute of the machine meets all alike
        add("tok_s_1_base", bench.speed([None]))
        for n in PEOPLE:
            add(f"tok_s_{n}", bench.speed([f"a{i}" for i in range(n)]))
        for n in CONTEXTS:
            add(f"first_token_ms_{n}", bench.first_token_ms(bench.words(n)))
        add("second_turn_share", bench.second_turn_share())
        swap_ms, pause_ms = bench.swap(folders[-1])
        add("swap_ms", swap_ms)
        add("swap_pause_ms", pause_ms)
    engine.close()
    figures |= {key: float(np.median(values)) for key, values in runs.items()}
    figures["swap_pause_ms"] = max(runs["swap_pause_ms"])
    figures["while_learning_share"] = figures["tok_s_1_while_learning"] / figures["tok_s_1"]
    figures["adapter_on_off_ratio"] = figures["tok_s_1"] / figures["tok_s_1_base"]
    return figures, {key: (min(values), max(values)) for key, values in runs.items() if len(values) > 1}


@contextmanager
def learning() -> Iterator[None]:
    """A learner in a process of its own trains meanwhile."""
    command = [sys.executable, "-P", "-m", "benchmarks.train_without_end", str(MODELS)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "learning\n":
            raise RuntimeError("The learner beside the chat did not start.")
        lower_priority(process.pid)
        try:
            yield
        finally:
            process.terminate()


def write_adapter(base: BaseModel, folder: Path, seed: int) -> Path:
    """An adapter of the learner's shape with random weights: how fast it is does not depend on them."""
    generator = torch.Generator().manual_seed(seed)
    settings, state = LoraSettings(), {}
    for path, (out_features, in_features) in base.spec.linear_shapes.items():
        a, b = (settings.rank, in_features), (out_features, settings.rank)
        state[f"base_model.model.{path}.lora_A.weight"] = (
            torch.randn(a, generator=generator) / in_features**0.5
        )
        state[f"base_model.model.{path}.lora_B.weight"] = torch.randn(b, generator=generator) / 500
    save_adapter(folder, state, settings, base.spec.id, base.adapter_targets())
    return folder


class _Bench:
    def __init__(self, engine: Engine, base: BaseModel, tokens: int) -> None:
        self._engine = engine
        self._base = base
        self._tokens = tokens
        self._numbers = itertools.count()

    def words(self, n: int) -> list[int]:
        """A prompt of `n` tokens that was not asked before."""
        text = f"{next(self._numbers)} is the number of this tale of ships and of the sea. " * (n // 8 + 2)
        return list(self._base.tokenizer(text)["input_ids"])[:n]

    def speed(self, adapters: list[str | None]) -> float:
        """Tokens a second of everybody together."""
        settings = SamplingSettings(max_new_tokens=self._tokens, seed=0)
        written = [self._engine.generate(self.words(50), settings, adapter) for adapter in adapters]
        for generation in written:
            generation.read()
        first, counted = time.perf_counter(), sum(g.completion_tokens for g in written)
        for generation in written:
            "".join(generation)
        return (sum(g.completion_tokens for g in written) - counted) / (time.perf_counter() - first)

    def first_token_ms(self, prompt: list[int]) -> float:
        return self._first_token(prompt, None, 1)[0]

    def _first_token(self, prompt: list[int], scope: str | None, tokens: int) -> tuple[float, str]:
        """Milliseconds until it is there, and the whole reply."""
        started = time.perf_counter()
        generation = self._engine.generate(
            prompt, SamplingSettings(max_new_tokens=tokens, temperature=0), "a0", scope=scope
        )
        text = ""
        while generation.completion_tokens == 0:
            text += generation.read(0.001) or ""
        first = (time.perf_counter() - started) * 1000
        return first, text + "".join(generation)

    def second_turn_share(self) -> float:
        scope, prompt = f"person {next(self._numbers)}", self.words(1000)
        first, reply = self._first_token(prompt, scope, 16)
        said = list(self._base.tokenizer(reply, add_special_tokens=False)["input_ids"])
        return self._first_token([*prompt, *said, *self.words(40)], scope, 1)[0] / first

    def swap(self, folder: Path) -> tuple[float, float]:
        """Milliseconds until a new adapter is there, and the pause that it makes in somebody's running reply."""
        generation = self._engine.generate(
            self.words(50), SamplingSettings(max_new_tokens=4 * self._tokens), "a0"
        )
        waits: list[tuple[float, float]] = []  # when a token came, and how long after the one before
        reader = threading.Thread(target=_note_waits, args=(generation, waits))
        reader.start()
        while len(waits) < self._tokens:
            time.sleep(0.005)
        started = time.perf_counter()
        loaded = aside(lambda: self._base.read_adapter(folder))
        self._engine.between_steps(lambda: self._base.install_adapter("new", loaded))
        there = time.perf_counter()
        self._engine.between_steps(lambda: self._base.remove_adapter("new"))
        time.sleep(0.2)
        ended = time.perf_counter()
        reader.join()
        during = [wait for at, wait in waits if started <= at <= ended]
        usual = [wait for at, wait in waits[2:] if at < started]
        return (there - started) * 1000, max(0.0, max(during) - float(np.median(usual))) * 1000


def _note_waits(generation: Generation, waits: list[tuple[float, float]]) -> None:
    last = time.perf_counter()
    for _ in generation:
        now = time.perf_counter()
        waits.append((now, now - last))
        last = now
