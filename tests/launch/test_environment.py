"""The environment that launch.py makes: real ones, of one tiny package, so that they take seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import launch
from launch import Environment, LaunchError, check_python, lock_text

CHECKOUT = Path(launch.__file__).resolve().parent


def make_wheel(folder: Path, version: str) -> Path:
    """A wheel of one module, written by hand: installing it needs neither a network nor a build."""
    wheel = folder / f"attune_tiny-{version}-py3-none-any.whl"
    info = f"attune_tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("attune_tiny.py", f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: attune-tiny\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture(autouse=True)
def only_local_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pip of these tests knows the wheels in tmp_path and nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A checkout that asks for one package, which exists in two versions; the lock names the older."""
    make_wheel(tmp_path / "wheels", "1.0")
    make_wheel(tmp_path / "wheels", "2.0")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text(
        '[project]\ndependencies = ["attune-tiny>=1"]\n'
        '[project.optional-dependencies]\ntest = ["attune-tiny"]\nbroken = ["attune-absent"]\n'
    )
    (checkout / "requirements.lock").write_text("attune-tiny==1.0\n")
    return Environment(checkout)


def installed_version(environment: Environment) -> str:
    code = "import attune_tiny; print(attune_tiny.version)"
    return subprocess.run([environment.python, "-c", code], capture_output=True, text=True).stdout.strip()


def test_the_environment_is_made_once_follows_the_lock_and_survives_interruptions(environment):
    environment.prepare()
    assert installed_version(environment) == "1.0"  # not 2.0, which is newer: the lock decides
    assert environment.lacks(()) == []

    started = time.perf_counter()
    environment.prepare()
    assert time.perf_counter() - started < 0.5  # nothing ran: later starts are immediate

    environment.lock_file.write_text("attune-tiny==2.0\n")
    assert environment.lacks(()) == ["project"]
    environment.prepare()
    assert installed_version(environment) == "2.0"

    with pytest.raises(LaunchError, match="pip ended with exit code"):
        environment.prepare(("broken",))
    assert environment.lacks(("broken",)) == ["broken"]  # tried again next time
    assert environment.lacks(()) == []  # what was complete stays complete

    environment.prepare(("test",))
    assert environment.lacks(("test",)) == []


def test_a_damaged_environment_is_made_anew(environment):
    environment.folder.mkdir()
    (environment.folder / "bin").mkdir()
    (environment.folder / "bin" / "python").write_text("not a program")
    (environment.folder / "leftover").mkdir()
    environment.prepare()
    assert installed_version(environment) == "1.0"
    assert not (environment.folder / "leftover").exists()


def test_an_old_python_is_refused_in_one_line():
    with pytest.raises(LaunchError) as refusal:
        check_python((3, 10, 4), lambda name: True)
    assert str(refusal.value) == "Attune needs Python 3.11 or newer; this is 3.10."
    check_python((3, 11, 0), lambda name: True)
    check_python((4, 0, 0), lambda name: True)


def test_a_python_without_venv_says_what_to_install():
    with pytest.raises(LaunchError) as refusal:
        check_python((3, 11, 2), lambda name: name != "ensurepip")
    assert "lacks ensurepip" in str(refusal.value)
    assert "apt install python3.11-venv" in str(refusal.value)


def test_launch_needs_only_the_standard_library(tmp_path):
    """-S leaves site-packages out: --help and wrong usage work before anything is installed."""
    for name in ("launch.py", "assistant/__init__.py", "assistant/commands"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy)(CHECKOUT / name, target)
    (tmp_path / "benchmarks").mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-E", "launch.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert run("--help").returncode == 0
    assert "rollback" in run("--help").stdout
    assert run("rollback").returncode == 2
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_does_not_work_is_named_instead_of_tried_for_ever(environment, monkeypatch):
    monkeypatch.setenv("ATTUNE_LAUNCHED_FROM", str(environment.checkout))
    with pytest.raises(LaunchError, match="remove that folder"):
        launch.run_inside(environment, [])


def test_the_lock_text_has_no_local_versions_and_leaves_the_platform_to_torch():
    packages = [
        {"name": "torch", "version": "2.13.0+cpu"},
        {"name": "nvidia-cublas-cu13", "version": "13.1"},
        {"name": "triton", "version": "3.5"},
        {"name": "pip", "version": "26"},
        {"name": "Jinja2", "version": "3.1.6"},
        {"name": "typing_extensions", "version": "4.16.0"},
    ]
    lines = [line for line in lock_text(packages).splitlines() if not line.startswith("#")]
    assert lines == ["jinja2==3.1.6", "torch==2.13.0", "typing-extensions==4.16.0"]


def test_the_lock_names_everything_that_pyproject_asks_for():
    environment = Environment(CHECKOUT)
    locked = dict(
        line.split("==") for line in environment.lock_file.read_text().splitlines() if line[0] != "#"
    )
    for requirement in environment.requirements("project") + environment.requirements("test"):
        name = requirement.split(">")[0].split("=")[0].strip()
        assert name in locked, f"{requirement} is not in requirements.lock: python launch.py lock"
    assert not [line for line in locked.values() if "+" in line]
    assert not [name for name in locked if name.startswith("nvidia")]
    assert "kernels" not in locked  # bitsandbytes on a CPU asks the hub for kernels where it is installed
