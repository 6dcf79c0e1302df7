"""Checks of the machine and the home, each with what it found in one sentence.

The gradient check is the one that nothing else would notice: on some CPUs bitsandbytes returns silently wrong
gradients through its packed kernel, and a learner with wrong gradients still runs, and learns noise.
"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from data.errors import AttuneError
from data.home import Home
from data.store import Store
from data.types import BASE_VERSION
from learner.modeling.embedded import EMBEDDED, EMBEDDED_FOLDER

State = Literal["ok", "note", "failed"]
FREE_BYTES = 2 * 1024**3  # an update, its adapter and a copy of the embedded model fit well within this
GRADIENT_TOLERANCE = 0.05  # relative error: bfloat16's rounding makes about 0.01, a broken kernel about 1


@dataclass(frozen=True)
class Check:
    """One finding. `note` is worth knowing but nothing is wrong."""

    name: str
    state: State
    detail: str


def examine(home: Home, store: Store, model: str, device: str) -> list[Check]:
    """Run every check; one that cannot run is a failed check, never an exception."""
    checks = [
        guarded("Python", check_python),
        guarded("torch", check_torch),
        guarded("GPU", check_gpu),
        guarded("disk", lambda: check_disk(home)),
        guarded("database", lambda: check_database(store)),
    ]
    checks.append(guarded("bitsandbytes", lambda: check_gradients(place(device))))
    if model == EMBEDDED and not (home.models_dir / EMBEDDED_FOLDER / "config.json").exists():
        return [*checks, Check("base model", "note", "not fetched yet; the first `chat` does it")]
    loaded: list[Any] = []
    checks.append(guarded("base model", lambda: load_model(home, model, device, loaded)))
    if loaded:
        checks.append(guarded("live adapters", lambda: check_adapters(home, store, loaded[0])))
    return checks


def place(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def load_model(home: Home, model: str, device: str, loaded: list[Any]) -> Check:
    """Load the base model, for the checks after this one, into `loaded`."""
    from learner.modeling.loading import load_base

    base = load_base(model, home.models_dir, device)
    loaded.append(base)
    return Check("base model", "ok", f"{model} loads on {base.device}, {base.held_as}")


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check's finding; whatever it raises is a finding too."""
    try:
        return check()
    except AttuneError as error:
        return Check(name, "failed", str(error))
    except Exception as error:
        return Check(name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}")


def check_python() -> Check:
    found = f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return Check("Python", "ok" if sys.version_info >= (3, 11) else "failed", found)


def check_torch() -> Check:
    import torch

    transformers = metadata.version("transformers")
    found = f"{torch.__version__}, {torch.get_num_threads()} threads, transformers {transformers}"
    return Check("torch", "ok", found)


def check_gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "note", "none that CUDA can use; the CPU does all the work")
    free, total = torch.cuda.mem_get_info(0)
    name = torch.cuda.get_device_name(0)
    return Check("GPU", "ok", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")


def check_disk(home: Home) -> Check:
    free = shutil.disk_usage(home.root).free
    detail = f"{free / 2**30:.1f} GiB free at {home.root}"
    if free < FREE_BYTES:
        return Check("disk", "failed", f"{detail}; an update needs {FREE_BYTES / 2**30:.0f} GiB")
    return Check("disk", "ok", detail)


def check_database(store: Store) -> Check:
    problems = store.verify()
    if problems:
        return Check("database", "failed", f"{len(problems)} problems: {'; '.join(problems[:5])}")
    return Check("database", "ok", "nothing wrong")


def check_adapters(home: Home, store: Store, base: Any) -> Check:
    """Every adapter that answers somebody must load on the base model that is in use.

    One that was made for another base sleeps while this one serves: a note, it is not broken.
    """
    broken, asleep, fine = [], [], 0
    for user in store.list_users():
        number = store.live_version(user.id)
        if number == BASE_VERSION:
            continue
        made_for = store.version(user.id, number).base_id
        if made_for != base.spec.id:
            asleep.append(f"version {number} of {user.name} was made for {made_for}")
            continue
        try:
            base.load_adapter("doctor", home.adapter_dir(user.id, number))
            base.remove_adapter("doctor")
            fine += 1
        except (AttuneError, OSError, ValueError, RuntimeError) as error:
            broken.append(f"version {number} of {user.name}: {' '.join(str(error).split())}")
    if broken:
        return Check("live adapters", "failed", "; ".join(broken))
    if asleep:
        detail = f"{fine} load; not used while {base.spec.id} answers: {'; '.join(asleep)}"
        return Check("live adapters", "note", detail)
    return Check("live adapters", "ok", f"{fine} load" if fine else "nobody has one yet")


def check_gradients(device: str, keep_gradients: bool = True) -> Check:
    """LoRA gradients through 4-bit layers against the same layers without quantisation's kernels.

    `keep_gradients=False` measures the layers as bitsandbytes makes them, not as the learner uses them.
    """
    from learner.modeling.checks import gradient_check

    version = metadata.version("bitsandbytes")
    error = gradient_check(device, keep_gradients)
    detail = f"{version}; LoRA gradients through 4-bit layers on {device} are off by {error:.1%}"
    if not error <= GRADIENT_TOLERANCE:  # a NaN fails too
        return Check("bitsandbytes", "failed", f"{detail}: updates would learn noise")
    return Check("bitsandbytes", "ok", f"{detail} (rounding)")
