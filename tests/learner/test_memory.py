"""The learner's memory goes back to the system."""

from __future__ import annotations

import psutil
import pytest
import torch

from learner import memory

MB = 2**20


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / MB


@pytest.mark.skipif(not psutil.LINUX, reason="other systems count resident memory in other ways")
def test_what_is_not_used_any_more_goes_back_to_the_system() -> None:
    memory.give_back()
    torch.ones(30 * MB, dtype=torch.uint8)  # freed at once: from now on glibc keeps blocks up to this size in its heap
    before = resident_mb()
    held = [torch.ones(MB // 2, dtype=torch.uint8) for _ in range(600)]
    above = torch.ones(MB // 2, dtype=torch.uint8)  # in use, so that the heap cannot simply end below what is freed
    assert resident_mb() > before + 250
    del held
    kept = resident_mb()
    memory.give_back()
    assert resident_mb() < before + 50
    assert kept > before + 250, "glibc gave it back by itself: this test would not see a missing trim"
    assert int(above[0]) == 1
