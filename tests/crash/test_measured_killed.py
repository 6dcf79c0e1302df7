"""kill -9 of a benchmark: the server that it started for itself does not stay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from data.home import CHECKOUT, Home

MEASURES = """
import sys, time
from pathlib import Path
from assistant.page.real_page import served
from data.home import Home
with served(Home(Path(sys.argv[1]))) as address:
    print(address, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends children with their parent")
def test_the_server_of_a_killed_benchmark_ends_with_it(home_with_model: Callable[[str], Home]) -> None:
    command = [sys.executable, "-c", MEASURES, str(home_with_model("home").root)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as measuring:
        assert measuring.stdout is not None
        assert measuring.stdout.readline().startswith("http://127.0.0.1:")
        started = psutil.Process(measuring.pid).children()
        assert len(started) == 1
        measuring.kill()
    gone, left = psutil.wait_procs(started, timeout=60)
    for process in left:
        process.kill()
    assert gone == started
