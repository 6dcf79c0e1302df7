"""The benchmark of larger models, on a tiny one: the same code, without a GPU."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sizes import QUICK, TINY, measure, write_model
from learner.modeling.base import BaseModel


def test_a_random_model_goes_through_an_iteration(base_model: BaseModel, tmp_path: Path) -> None:
    base_model.tokenizer.save_pretrained(tmp_path / "tokenizer")
    write_model(TINY["tiny"], tmp_path / "model", tmp_path / "tokenizer")
    found = measure(tmp_path / "model", QUICK)
    assert found["samples_per_s"] > 0 and found["decode_tokens_per_s_8"] > 0 and found["iteration_s"] > 0
