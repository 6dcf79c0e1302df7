"""Adapter and reward folders that came from outside: looked at byte by byte, never loaded, never trusted.

A PEFT configuration can name code to import, and names its own layers; what is kept of one is rebuilt here
from plain values. Weights are safetensors (no code), checked for names, shapes, types and finite values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from data.adapter_files import CARD, CONFIG, WEIGHTS
from data.errors import Invalid

_KEY = re.compile(r"base_model\.model\.((?:[A-Za-z0-9_]+\.)*[A-Za-z0-9_]+)\.lora_(A|B)\.weight")
_TARGET = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
MAX_RANK = 1024
MAX_SCALE = 65_536.0
# What would change the function that the weights compute, if it were anything but absent.
_MUST_BE_PLAIN = (
    "use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "layer_replication", "lora_bias",
    "exclude_modules", "layers_to_transform", "trainable_token_indices", "target_parameters", "use_qalora",
    "fan_in_fan_out", "eva_config", "corda_config", "megatron_config", "arrow_config",
    "alora_invocation_tokens", "use_rslora",
)  # fmt: skip
_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_BF16_EXPONENT = 0x7F80
_CHUNK = 4 * 2**20  # numbers looked at in one go: memory stays small whatever the file's size


def check_adapter(
    folder: Path, where: str, base_id: str | None, linear_shapes: Mapping[str, tuple[int, int]] | None
) -> None:
    """Check an extracted adapter folder and rewrite its configuration and card from plain values.

    `where` names it in messages; `base_id` is written into the configuration where it is known;
    `linear_shapes` maps module paths of this home's base to (out, in), None where the adapter is not for
    this base or no base has been loaded yet. Raises Invalid.
    """
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise Invalid(f"The profile file is broken: {where} has no {name}.")
    config = _json_object(folder / CONFIG, where)
    shapes = tensor_shapes(folder / WEIGHTS, where)
    rank = _whole(config.get("r"), 1, MAX_RANK, f"r in {where}/{CONFIG}")
    modules = _modules(shapes, rank, where)
    if linear_shapes is not None:
        _check_against_base(modules, linear_shapes, where)
    plain = _plain_config(config, modules, rank, base_id, where)
    (folder / CONFIG).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    if (folder / CARD).is_file():
        card = _json_object(folder / CARD, where)
        (folder / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def check_reward(folder: Path, where: str) -> None:
    """Check an extracted reward model's files: readable, plain, finite. Raises Invalid."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            tensor_shapes(path, f"{where}/{path.name}", plain_types=False)
        else:
            _json_object(path, where)


def tensor_shapes(path: Path, where: str, plain_types: bool = True) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a safetensors file, all of whose values are finite.

    With `plain_types`, types other than float32, float16 and bfloat16 are refused. Raises Invalid.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with safe_open(path, framework="np") as file:  # validates the header: offsets, sizes, overlaps
            for name in file.keys():  # noqa: SIM118 (no mapping: it has no __iter__)
                piece = file.get_slice(name)
                shapes[name] = tuple(piece.get_shape())
                if plain_types and piece.get_dtype() not in _NUMPY_TYPES:
                    raise Invalid(
                        f"The profile file is broken: {where} has weights of type {piece.get_dtype()}."
                    )
        _check_finite(path, where)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Invalid(
            f"The profile file is broken: the weights of {where} cannot be read ({error})."
        ) from error
    return shapes


def _check_finite(path: Path, where: str) -> None:
    """Read the values in place, in pieces; numpy has no bfloat16, whose exponent bits are looked at."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    types: dict[str, np.dtype[Any]] = {**_NUMPY_TYPES, "F64": np.dtype("<f8")}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in types:
            continue  # whole numbers are finite
        begin, end = entry["data_offsets"]
        dtype = types[entry["dtype"]]
        count = (end - begin) // dtype.itemsize
        if not count:
            continue
        values = np.memmap(path, dtype=dtype, mode="r", offset=8 + length + begin, shape=(count,))
        for start in range(0, count, _CHUNK):
            piece = values[start : start + _CHUNK]
            if entry["dtype"] == "BF16":
                finite = bool(((piece & _BF16_EXPONENT) != _BF16_EXPONENT).all())
            else:
                finite = bool(np.isfinite(piece).all())
            if not finite:
                raise Invalid(
                    f"The profile file is broken: {where} has values that are not finite (in {name})."
                )


def _modules(shapes: Mapping[str, tuple[int, ...]], rank: int, where: str) -> dict[str, tuple[int, int]]:
    """Module path -> (out, in) that the pairs of LoRA matrices fit."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise Invalid(f"The profile file is broken: {where} has weights called {key[:80]!r}.")
        found.setdefault(match.group(1), {})[match.group(2)] = shape
    if not found:
        raise Invalid(f"The profile file is broken: {where} has no weights.")
    modules: dict[str, tuple[int, int]] = {}
    for module, pair in found.items():
        a, b = pair.get("A", ()), pair.get("B", ())
        if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank or not a[1] or not b[0]:
            raise Invalid(
                f"The profile file is broken: the weights of {module} in {where} have the shapes "
                f"{list(a)} and {list(b)}, which do not go together with r = {rank}."
            )
        modules[module] = (b[0], a[1])
    return modules


def _check_against_base(
    modules: Mapping[str, tuple[int, int]], linear_shapes: Mapping[str, tuple[int, int]], where: str
) -> None:
    for module, shape in modules.items():
        expected = linear_shapes.get(module)
        if expected is None:
            raise Invalid(
                f"The profile file is broken: the base model has no layer {module} as {where} says."
            )
        if shape != tuple(expected):
            raise Invalid(
                f"The profile file is broken: {module} in {where} is for a layer of {shape[0]} x {shape[1]}, "
                f"but the base model's is {expected[0]} x {expected[1]}."
            )


def _plain_config(
    config: Mapping[str, Any], modules: Mapping[str, Any], rank: int, base_id: str | None, where: str
) -> dict[str, Any]:
    """A PEFT LoRA configuration with nothing in it but numbers, names and the defaults."""
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none":
        raise Invalid(f"The profile file is broken: {where} is not a plain LoRA adapter.")
    for name in _MUST_BE_PLAIN:
        if config.get(name):
            raise Invalid(
                f"The profile file is broken: {where}/{CONFIG} sets {name}, which is not supported."
            )
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise Invalid(f"The profile file is broken: lora_alpha in {where}/{CONFIG} is not a number.")
    if not 0 < alpha <= MAX_SCALE:
        raise Invalid(f"The profile file is broken: lora_alpha in {where}/{CONFIG} is {str(alpha)[:20]}.")
    named = config.get("base_model_name_or_path")
    known = base_id if base_id is not None else named if isinstance(named, str) and len(named) < 500 else ""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": known,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": _targets(config.get("target_modules"), modules, where),
        "bias": "none",
        "use_rslora": False,
        "inference_mode": True,
    }


def _targets(named: Any, modules: Mapping[str, Any], where: str) -> list[str]:
    """The names in the file where they are plain and cover the weights; else those of the weights."""
    leaves = sorted({module.rsplit(".", 1)[-1] for module in modules})
    if not isinstance(named, list):
        return leaves  # "all-linear" or a regular expression
    if not all(isinstance(name, str) and _TARGET.fullmatch(name) for name in named):
        raise Invalid(f"The profile file is broken: target_modules in {where}/{CONFIG} are not plain names.")
    for module in modules:
        if not any(module == name or module.endswith("." + name) for name in named):
            raise Invalid(
                f"The profile file is broken: target_modules in {where}/{CONFIG} leave out {module}."
            )
    return sorted(set(named))


def _json_object(path: Path, where: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The profile file is broken: {where}/{path.name} is not JSON.") from error
    if not isinstance(value, dict):
        raise Invalid(f"The profile file is broken: {where}/{path.name} is not a JSON object.")
    return value


def _whole(value: Any, least: int, most: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"The profile file is broken: {what} is not a whole number from {least} to {most}.")
    return value
