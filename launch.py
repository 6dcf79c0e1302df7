"""Attune's one command line: `python launch.py [COMMAND]`.

Needs nothing but Python with venv and pip. The first run makes `.venv` beside this file and installs what
pyproject.toml asks for, in the exact versions of requirements.lock; then, and ever after, it runs itself
again with that environment's Python and hands over to `assistant/commands/`.

The checkout itself is not installed: it is the first entry of sys.path (as a script's folder always is), so
there is no build, no second copy of the code, and nothing to reinstall when only code changed.

Arguments are parsed before anything is installed: `--help` and wrong usage answer at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

MINIMUM = (3, 11)
CHECKOUT = Path(__file__).resolve().parent
PROJECT = "project"  # the name of the project's own requirements, beside those of the extras
# torch's metadata names the exact CUDA packages that it was built with; they are not ours to fix. Nor is pip,
# which the environment brings.
NEVER_LOCKED = ("nvidia-", "cuda-", "triton")


class LaunchError(Exception):
    """Something a person can act on; printed as one line, exit code 1."""


def check_python(version: tuple, has_module) -> None:
    """Refuse a Python that is too old, or one without venv and ensurepip (Debian packages them apart)."""
    if tuple(version[:2]) < MINIMUM:
        raise LaunchError(
            f"Attune needs Python {MINIMUM[0]}.{MINIMUM[1]} or newer; this is {version[0]}.{version[1]}."
        )
    missing = [name for name in ("venv", "ensurepip") if not has_module(name)]
    if missing:
        raise LaunchError(
            f"This Python lacks {' and '.join(missing)}: install it (Debian and Ubuntu: "
            f"apt install python{version[0]}.{version[1]}-venv) and run the same command again."
        )


def has_module(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


class Environment:
    """The virtual environment of one checkout: where it is, what belongs in it, whether it is complete."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.folder = checkout / ".venv"
        self.lock_file = checkout / "requirements.lock"
        self.stamp_file = self.folder / "attune-installed.json"
        windows = os.name == "nt"
        self.python = self.folder / ("Scripts/python.exe" if windows else "bin/python")

    def requirements(self, name: str) -> list:
        """Requirement lines from pyproject.toml: the project's own, or those of the extra of that name."""
        import tomllib

        project = tomllib.loads((self.checkout / "pyproject.toml").read_text("utf-8"))["project"]
        return project["dependencies"] if name == PROJECT else project["optional-dependencies"][name]

    def stamp(self, name: str) -> str:
        """What an installation depends on, as one hash: requirements, lock, Python version."""
        what = [self.requirements(name), self.lock_file.read_text("utf-8"), list(sys.version_info[:2])]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def stamps(self) -> dict:
        """Name of a set of requirements -> its stamp, for every installation that ran to its end."""
        try:
            found = json.loads(self.stamp_file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def lacks(self, extras: tuple) -> list:
        """Which sets of requirements are not installed as the lock has them."""
        stamps = self.stamps() if self.python.exists() else {}
        return [name for name in (PROJECT, *extras) if stamps.get(name) != self.stamp(name)]

    def is_current(self) -> bool:
        """Whether this very process runs inside the environment."""
        return self.folder.exists() and Path(sys.prefix).resolve() == self.folder.resolve()

    def prepare(self, extras: tuple = ()) -> None:
        """Make the environment and install what it lacks. Safe to interrupt: a stamp is written last."""
        if not self.lacks(extras):
            return
        check_python(tuple(sys.version_info), has_module)
        self.folder.mkdir(exist_ok=True)
        with self.held_alone():
            missing = self.lacks(extras)  # another launch may have installed it while this one waited
            if not missing:
                return
            if not self.has_pip():
                self.make()
            complete = {name: stamp for name, stamp in self.stamps().items() if name not in missing}
            self.write_stamps(complete)
            say("Installing what Attune needs. The first time this takes some minutes.")
            wanted = [line for name in missing for line in self.requirements(name)]
            self.pip("install", "--constraint", str(self.lock_file), *wanted)
            self.write_stamps({**complete, **{name: self.stamp(name) for name in missing}})

    def has_pip(self) -> bool:
        """Whether the environment's Python starts, is of this version, and has pip."""
        if not self.python.exists():
            return False
        probe = "import pip, sys; print(*sys.version_info[:2])"
        try:
            result = subprocess.run([str(self.python), "-c", probe], capture_output=True, text=True)
        except OSError:  # there is a file of that name which is no program
            return False
        return result.returncode == 0 and result.stdout.split() == [str(n) for n in sys.version_info[:2]]

    def make(self) -> None:
        """Create the environment from nothing (what a broken or older one left is removed first)."""
        say(f"Making a Python environment in {self.folder.name}.")
        for left in self.folder.iterdir():
            if left.name == "attune.lock":
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        # The base interpreter, so that an environment is never made out of another one.
        base = getattr(sys, "_base_executable", None) or sys.executable
        result = subprocess.run([base, "-m", "venv", str(self.folder)], stdout=sys.stderr)
        if result.returncode != 0 or not self.has_pip():
            raise LaunchError("Python's venv could not make an environment; its message is above.")

    def pip(self, *arguments: str) -> None:
        """Run the environment's pip, its progress on stderr (stdout belongs to the command's results)."""
        environ = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        command = [str(self.python), "-m", "pip", *arguments]
        result = subprocess.run(command, stdout=sys.stderr, env=environ, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            raise LaunchError(
                f"pip ended with exit code {result.returncode}; its message is above. "
                "Run the same command again to go on from there."
            )

    def write_stamps(self, stamps: dict) -> None:
        temporary = self.stamp_file.with_suffix(".part")
        temporary.write_text(json.dumps(stamps, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.stamp_file)

    @contextmanager
    def held_alone(self):
        """One installation at a time: a second launch waits for the first (the kernel frees a dead one's)."""
        with open(self.folder / "attune.lock", "a+b") as handle:
            if os.name == "nt":
                import msvcrt

                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
            else:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def lock(self, extras: tuple) -> int:
        """Write requirements.lock anew: the newest versions inside pyproject's ranges that fit together.

        pip resolves for an empty environment and installs nothing. Returns how many packages there are.
        """
        wanted = [line for name in (PROJECT, *extras) for line in self.requirements(name)]
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            resolve = ("--dry-run", "--ignore-installed", "--quiet", "--report", str(report))
            self.pip("install", *resolve, *wanted)
            found = json.loads(report.read_text("utf-8"))["install"]
        self.lock_file.write_text(lock_text(item["metadata"] for item in found), encoding="utf-8")
        return len(found)


def lock_text(packages) -> str:
    """The lock file's text from pip's metadata: sorted, without local versions such as `+cpu`.

    Without them the same lock picks the build that fits the machine: a CUDA one where there is CUDA.
    """
    lines = [
        "# Exact versions for everyone, made by `python launch.py lock`; pip reads this file as constraints.",
    ]
    for package in sorted(packages, key=lambda package: package["name"].lower()):
        name = package["name"].lower().replace("_", "-")
        if name != "pip" and not name.startswith(NEVER_LOCKED):
            lines.append(f"{name}=={package['version'].split('+')[0]}")
    return "\n".join(lines) + "\n"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_inside(environment: Environment, arguments: list) -> int:
    """Run this file again with the environment's Python; on POSIX this call never returns."""
    if os.environ.get("ATTUNE_LAUNCHED_FROM") == str(environment.checkout):
        raise LaunchError(f"The environment in {environment.folder} does not work: remove that folder.")
    os.environ["ATTUNE_LAUNCHED_FROM"] = str(environment.checkout)
    command = [str(environment.python), str(environment.checkout / "launch.py"), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def main(arguments: list) -> int:
    try:
        check_python(tuple(sys.version_info), lambda name: True)
        from assistant.commands.line import EXTRAS, parse, run

        options = parse(arguments)
        environment = Environment(CHECKOUT)
        environment.prepare(EXTRAS.get(options.command, ()))
        if not environment.is_current():
            return run_inside(environment, arguments)
        os.environ.pop("ATTUNE_LAUNCHED_FROM", None)
        if options.command == "lock":
            count = environment.lock(("test", "bench", "tensorboard"))
            print(f"requirements.lock: {count} packages.")
            return 0
        return run(options)
    except KeyboardInterrupt:
        say("Interrupted.")
        return 1
    except (LaunchError, OSError) as error:
        say(f"launch.py: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
