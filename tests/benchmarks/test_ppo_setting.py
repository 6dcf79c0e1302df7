"""What `bench ppo` measures on both of its sides."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data.home import CHECKOUT

CHILD = "from benchmarks.ppo.setting import peak_mb; held = bytes(range(256)) * (HELD_MB << 12); print(peak_mb())"
PARENT = (
    "import subprocess, sys; held = bytes(range(256)) * (600 << 12);"
    "print(subprocess.check_output([sys.executable, '-c', sys.argv[1]], text=True))"
)


@pytest.mark.parametrize("held_mb", [1, 200])
def test_peak_memory_is_that_of_the_process_and_not_of_its_parent(held_mb: int) -> None:
    command = [sys.executable, "-c", PARENT, CHILD.replace("HELD_MB", str(held_mb))]
    found = float(subprocess.check_output(command, cwd=CHECKOUT, text=True))
    assert held_mb < found < held_mb + 150
