"""Our PPO beside TRL's: `python launch.py bench ppo`.

Both train the same LoRA (Attune's default: B in the last third of the layers; TRL's has no matrices in the others at
all) on the same 4-bit embedded model with the same prompts, reward, lengths, batches, epochs and learning rates, with
a value head and generalised advantage estimation, one after the other in a process of its own:
`trl.experimental.ppo` of TRL 1.12.0, the last release with PPO, in an environment of its own (made once, with the
torch, transformers, PEFT and bitsandbytes that Attune has; what differs is the trainer). Both compute in what the CPU
has instructions for, bfloat16 or float32.

- `samples_per_s_ratio`: sampled, scored and trained on, per second; ours over TRL's.
- `peak_memory_ratio`: highest resident memory less what the imports took; ours over TRL's.
- `reward_last`, `reward_last_trl`: mean reward of the last iteration's replies, after the same number of samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import time
import venv
from dataclasses import asdict
from pathlib import Path

from benchmarks.ppo.setting import Setting
from benchmarks.results import Result
from data.errors import AttuneError
from data.home import CHECKOUT
from data.prompts import general_prompts
from learner.modeling.embedded import EMBEDDED_FOLDER, prepare_embedded

TRL = "trl==1.12.0"
ENVIRONMENT = CHECKOUT / "build" / "bench" / "trl"
MODELS = CHECKOUT / "build" / "bench" / "models"


def main(options: argparse.Namespace) -> Result:
    started = time.monotonic()
    prepare_embedded(MODELS)
    quick = Setting(iterations=1, prompts_per_iteration=2, minibatch_size=8, micro_batch_size=4, response_tokens=32)
    setting = quick if options.quick else Setting()
    asked = json.dumps(
        {"setting": asdict(setting), "model": str(MODELS / EMBEDDED_FOLDER), "prompts": general_prompts("rollout")}
    )
    ours = _side([sys.executable, "-P", "-m", "benchmarks.ppo.ours"], asked)
    theirs = _side([str(_trl_python()), "-P", "-m", "benchmarks.ppo.theirs"], asked)
    figures = {
        "samples_per_s_ratio": ours["samples_per_s"] / theirs["samples_per_s"],
        "peak_memory_ratio": ours["peak_mb"] / theirs["peak_mb"],
        "reward_difference": ours["reward_last"] - theirs["reward_last"],
        **ours,
        **{f"{name}_trl": value for name, value in theirs.items()},
    }
    return Result(
        "ppo", "embedded", asdict(setting) | {"beside": TRL}, figures, time.monotonic() - started,
        limits={"peak_memory_ratio": 0.5}, at_least={"samples_per_s_ratio": 2.0, "reward_difference": 0.0},
    )  # fmt: skip


def _side(command: list[str], asked: str) -> dict[str, float]:
    """The JSON that one side prints last."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, input=asked, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-4000:])
        raise AttuneError(f"{command[-1]} failed; its own words stand above.")
    return {str(name): float(value) for name, value in json.loads(done.stdout.strip().splitlines()[-1]).items()}


def _trl_python() -> Path:
    """The Python of TRL's environment: what Attune has, and TRL with what only TRL needs beside it."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "ready").exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        site = Path(subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip())  # fmt: skip
        (site / "attune.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", TRL], capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise AttuneError(f"{TRL} cannot be installed here: {reason}")
        (ENVIRONMENT / "ready").touch()
    return python
