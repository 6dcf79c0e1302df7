"""`doctor`, `bench`, `screenshots` and `test`: is this machine, and this checkout, as it should be?"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext, redirect_stdout

from assistant.commands.models import model_of
from assistant.commands.opened import opened_store, show
from assistant.supervisor import CHECKOUT, child_environment

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


def doctor(options: argparse.Namespace) -> int:
    """Prints every check; exit code 1 when one failed."""
    from assistant.doctor import examine

    with opened_store(options) as (home, store):
        checks = examine(home, store, model_of(options, store), options.device)
    failed = [check for check in checks if check.state == "failed"]
    values = {
        "ok": not failed,
        "checks": [{"name": check.name, "state": check.state, "detail": check.detail} for check in checks],
    }
    marks = {"ok": "ok  ", "note": "note", "failed": "FAIL"}
    show(
        options,
        values,
        lambda: "\n".join(f"{marks[check.state]}  {check.name}: {check.detail}" for check in checks),
    )
    if failed:
        names = ", ".join(check.name for check in failed)
        print(f"attune doctor: {len(failed)} of {len(checks)} checks failed: {names}.", file=sys.stderr)
    return 1 if failed else 0


def bench(options: argparse.Namespace) -> int:
    """Measure and report. What a benchmark says on the way goes to stderr with --json: its one object stands alone."""
    module = importlib.import_module(f"benchmarks.{options.benchmark}")
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        result = module.main(options)
    importlib.import_module("benchmarks.results").report(result, options)
    return 0


def screenshots(options: argparse.Namespace) -> int:
    install_chromium()
    module = importlib.import_module("assistant.page.screenshots")
    return int(module.main(options) or 0)


def test(options: argparse.Namespace) -> int:
    """pytest with the given arguments. Its exit code, except that 2 stays for wrong usage of ours."""
    install_chromium()
    command = [sys.executable, "-P", "-m", "pytest", "--rootdir", str(CHECKOUT), *options.pytest_arguments]
    environ = {**child_environment(), "HF_HUB_OFFLINE": "1"}
    code = subprocess.call(command, env=environ, cwd=CHECKOUT, stdin=subprocess.DEVNULL)
    return 0 if code == 0 else 1


def install_chromium() -> None:
    """Debian's Chromium for the browser tests, where it is missing and may be installed; else a note."""
    if any(shutil.which(name) for name in CHROMIUM_NAMES):
        return
    apt = shutil.which("apt-get")
    as_root = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    allowed = apt is not None and (not as_root or can_sudo())
    if not allowed:
        print("There is no Chromium here: the browser tests need it.", file=sys.stderr)
        return
    print("Installing Chromium for the browser tests.", file=sys.stderr)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium"]):
        command = [*as_root, str(apt), *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environ)
        if done.returncode != 0:
            print(f"apt-get {arguments[0]} failed: the browser tests have no Chromium.", file=sys.stderr)
            return


def can_sudo() -> bool:
    """Whether sudo works without asking for a password."""
    sudo = shutil.which("sudo")
    if sudo is None:
        return False
    return subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0
