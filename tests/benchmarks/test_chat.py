"""`bench chat` at its smallest setting, so that it still runs on the day somebody needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import chat


def test_our_own_figures_are_measured(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "MODELS", models_dir)
    monkeypatch.setattr(chat, "PEOPLE", (1, 2))
    monkeypatch.setattr(chat, "CONTEXTS", (50,))
    figures, _ = chat.measure(8, 1, tmp_path)
    assert {
        "tok_s_1",
        "tok_s_2",
        "first_token_ms_50",
        "swap_ms",
        "while_learning_share",
    } <= set(figures)
    assert all(value > 0 for name, value in figures.items() if name != "swap_pause_ms")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["adapter0", "adapter1", "adapter2"]
