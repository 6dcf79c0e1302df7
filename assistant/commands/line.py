"""The command line: what can be typed, where each command lives, and how a failure reads.

Standard library only, because `launch.py` parses arguments before anything is installed. A command is a
function `(options) -> int` in one of the modules beside this one, imported when it is called.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]

# command -> (module beside this one, function)
COMMANDS = {
    "chat": ("chat", "chat"),
    "fetch-model": ("models", "fetch_model"),
    "learn": ("learn", "learn"),
    "status": ("status", "status"),
    "settings": ("settings", "settings"),
    "versions": ("versions", "versions"),
    "rollback": ("versions", "rollback"),
    "export": ("profile", "export"),
    "import": ("profile", "import_"),
    "backup": ("backup", "backup"),
    "export-data": ("profile", "export_data"),
    "export-metrics": ("metrics", "export_metrics"),
    "reset": ("profile", "reset"),
    "undo-reset": ("profile", "undo_reset"),
    "users": ("accounts", "users"),
    "keys": ("accounts", "keys"),
    "doctor": ("checks", "doctor"),
    "bench": ("checks", "bench"),
    "screenshots": ("checks", "screenshots"),
    "test": ("checks", "test"),
}
# Commands that need more than the project's own requirements (names of extras in pyproject.toml).
EXTRAS = {
    "test": ("test",), "screenshots": ("test",), "lock": ("test",), "bench": ("bench",),
    "export-metrics": ("tensorboard",),
}  # fmt: skip
BENCHMARKS = ("learning", "reward", "ppo", "chat", "store", "page", "sizes")


def available_benchmarks() -> list[str]:
    """The benchmarks that this checkout has: `benchmarks/<name>.py` or a package of that name."""
    folder = CHECKOUT / "benchmarks"
    return [
        name
        for name in BENCHMARKS
        if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()
    ]


def port_number(text: str) -> int:
    value = int(text)
    if not 0 < value < 65536:
        raise argparse.ArgumentTypeError(f"{value} is not a port: 1 to 65535")
    return value


def whole_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is less than 0")
    return value


def version_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is not a version: 0 (the base model) or more")
    return value


def learner_setting(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not equals or not name.startswith("learner."):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no setting: write learner.NAME=VALUE, such as learner.budget_minutes=20"
        )
    return text


def add_common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Options of every command; they may stand before or after its name.

    Below the top level the default is SUPPRESS: a subparser that sets defaults would undo what was said
    before the command's name.
    """

    def default(value: Any) -> Any:
        return value if top else argparse.SUPPRESS

    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "--home",
        metavar="DIR",
        default=default(None),
        help="where everything is kept (default: $ATTUNE_HOME, else the user data folder)",
    )
    group.add_argument(
        "--user",
        metavar="NAME",
        default=default("me"),
        help="whose profile, where a command is about one person's (default: me)",
    )
    group.add_argument("--json", action="store_true", default=default(False), help="print the result as JSON")
    group.add_argument(
        "--debug", action="store_true", default=default(False), help="show a traceback when something fails"
    )


def add_model(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--model",
        metavar="ID_OR_PATH",
        default=argparse.SUPPRESS,
        help="`embedded`, a hub id that was fetched, a folder or a GGUF file "
        "(default: chat takes the embedded model, other commands the one that chat ran last)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default=argparse.SUPPRESS)


def add_serving(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument("--host", default=argparse.SUPPRESS, help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=port_number, default=argparse.SUPPRESS, help="default: 7860")
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="one more name under which browsers reach this server (behind a proxy, say); may be repeated",
    )
    parser.add_argument(
        "--rate-limit",
        type=whole_number,
        metavar="N",
        default=argparse.SUPPRESS,
        help="requests to the API that one person may make in a minute (default: 1200; 0: no limit)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default=argparse.SUPPRESS,
        help="what chat server and learner write into logs/ (default: info)",
    )
    parser.add_argument(
        "--log-json", action="store_true", default=argparse.SUPPRESS, help="as one JSON object a line"
    )
    parser.add_argument("--no-browser", action="store_true", default=argparse.SUPPRESS)
    parser.add_argument("--no-learner", action="store_true", default=argparse.SUPPRESS, help="chat only")


# Defaults of options that may be given before the command's name and are therefore suppressed above.
# No model means: chat takes the embedded one, the others the one that was served last.
MODEL_DEFAULTS = {"model": None, "device": "auto"}
SERVING_DEFAULTS = {
    "host": "127.0.0.1", "port": 7860, "allow_host": (), "rate_limit": 1200, "log_level": "info",
    "log_json": False, "no_browser": False, "no_learner": False,
}  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch.py",
        description="Attune: a chat assistant that learns from you. Without a command: chat.",
        allow_abbrev=False,
    )
    add_common(parser, top=True)
    chat_options = parser.add_argument_group("options of chat")
    add_model(chat_options)
    add_serving(chat_options)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(name: str, does: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=does, description=does, allow_abbrev=False)
        add_common(sub, top=False)
        return sub

    chat = add("chat", "start the chat server and the learner, open the page")
    add_model(chat)
    add_serving(chat)
    add("fetch-model", "fetch a model, so that it works offline from then on").add_argument(
        "model_id", metavar="ID", help="a hub id, or `embedded`"
    )
    add_model(add("learn", "one learning update now, with a progress bar and a report"))
    add("status", "feedback counts, live version, the learner's state, last runs")
    settings = add("settings", "how the learner learns and what it may take, for everybody: list it, or change it")
    settings.add_argument(
        "values", nargs="*", type=learner_setting, metavar="NAME=VALUE",
        help="from the next update on, such as learner.budget_minutes=20; NAME=default takes a change back",
    )  # fmt: skip
    add("versions", "every version of your adapter, and which one is live")
    rollback = add("rollback", "make an earlier version live again")
    rollback.add_argument("--to", type=version_number, required=True, metavar="N", help="0 is the base model")
    add_profile_commands(add)
    add_account_commands(add)
    doctor = add("doctor", "check this machine, the store and every live adapter")
    add_model(doctor)
    bench = add("bench", "measure: a table, a JSON and a plot")
    bench.add_argument("benchmark", choices=available_benchmarks())
    bench.add_argument("--quick", action="store_true", help="a small setting, under two minutes")
    bench.add_argument("--out", metavar="DIR", help="where the files go (default: docs/benchmarks)")
    bench.add_argument("--data", metavar="DIR", help=(
        "folder with preferences/pandalm_testset_v1.json and prompts/ifeval_input_data.jsonl "
        "(default: ../shared/data); rows whose data is missing are left out"
    ))
    add_model(bench)
    add("screenshots", "make the pictures in README and docs from the real page")
    add(
        "test", "install what the tests need, then run them"
    ).epilog = (
        "Everything after `test` goes to pytest. Without it: all tests but the slow ones, those that install other "
        "trainers, and those for a GPU."
    )
    add("lock", "for developers: write requirements.lock anew")
    return parser


def add_profile_commands(add: Any) -> None:
    add("export", "write the whole profile into one file").add_argument(
        "--out", required=True, metavar="FILE.zip"
    )
    add("import", "read a profile file; an adapter in it goes live only by `rollback`").add_argument(
        "file", metavar="FILE.zip"
    )
    data = add("export-data", "write your feedback as rows for another trainer")
    data.add_argument("--format", required=True, choices=("preference", "unpaired", "demonstrations"))
    data.add_argument("--for", dest="trainer", required=True, choices=("trl", "llama-factory"))
    data.add_argument("--out", required=True, metavar="PATH", help="a file for trl, a folder for llama-factory")
    metrics = add("export-metrics", "write what your updates measured as events that TensorBoard reads")
    metrics.add_argument("--out", required=True, metavar="FOLDER", help="a folder for each run is made in it")
    metrics.add_argument("--run", metavar="ID", help="this run alone (default: all of yours)")
    add("backup", "copy the whole database, of everybody, while Attune runs").add_argument(
        "--out", required=True, metavar="FILE.db"
    )
    reset = add("reset", "forget: the adapter, the feedback, or everything")
    reset.add_argument("--what", choices=("model", "feedback", "all"), default="model")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.add_argument("--erase-now", action="store_true", help="no undo: erase at once")
    add("undo-reset", "take back the last reset (within 30 days)")


def add_account_commands(add: Any) -> None:
    users = add("users", "accounts: people who sign in")
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, does in (
        ("add", "a new account; asks for the password"),
        ("list", "everybody who has data here"),
        ("passwd", "a new password"),
        ("admin", "let somebody add and remove people on the page"),
        ("sign-out", "end every sign-in of a person, on whatever machine"),
        ("remove", "remove an account with everything it has"),
    ):
        sub = actions.add_parser(action, help=does, description=does, allow_abbrev=False)
        add_common(sub, top=False)
        if action == "list":
            continue
        sub.add_argument("name")
        if action in ("add", "passwd"):
            sub.add_argument(
                "--password-stdin", action="store_true", help="read the password from standard input"
            )
        if action == "add":
            sub.add_argument("--take-over", action="store_true", help="take over the data of `me`")
            sub.add_argument("--admin", action="store_true", help="may add and remove people on the page")
        if action == "admin":
            sub.add_argument("--off", action="store_true", help="not any more")
        if action == "remove":
            sub.add_argument("--yes", action="store_true", help="do not ask")
    keys = add("keys", "API keys of --user")
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, argument, does in (
        ("add", "name", "a new key, shown once"),
        ("list", None, "names and last use"),
        ("revoke", "key_id", "a key stops working at once"),
    ):
        sub = actions.add_parser(action, help=does, description=does, allow_abbrev=False)
        add_common(sub, top=False)
        if argument:
            sub.add_argument(argument)
        if action == "add":
            sub.add_argument(
                "--expires-days", type=whole_number, metavar="N", help="after so many days it opens nothing"
            )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Arguments -> options. Wrong usage prints the usage and what is wrong, and exits with 2.

    What is not known after `test` is pytest's, in its order.
    """
    parser = build_parser()
    options, unknown = parser.parse_known_args(arguments)
    options.command = options.command or "chat"
    if options.command == "test":
        options.pytest_arguments = unknown
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command != "chat":
        for name in SERVING_DEFAULTS:
            if hasattr(options, name):
                parser.error(f"--{name.replace('_', '-')} belongs to chat, not to {options.command}")
    for name, value in {**MODEL_DEFAULTS, **SERVING_DEFAULTS}.items():
        if not hasattr(options, name):
            setattr(options, name, value)
    return options


def set_environment(options: argparse.Namespace) -> None:
    """Offline and quiet, before any library is imported; child processes inherit it."""
    if options.command != "fetch-model":
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["TQDM_DISABLE"] = "1"  # libraries' bars; the commands show their own
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def run(options: argparse.Namespace) -> int:
    """Run a parsed command. Returns the exit code; a failure is one line on stderr."""
    set_environment(options)
    from data.errors import AttuneError

    module, function = COMMANDS[options.command]
    try:
        command = getattr(importlib.import_module(f"assistant.commands.{module}"), function)
        return int(command(options) or 0)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 1
    except (AttuneError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"attune {options.command}: {in_one_line(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        name = type(error).__name__
        print(
            f"attune {options.command}: unexpected {name}: {in_one_line(error)} "
            "(run again with --debug for the details)",
            file=sys.stderr,
        )
        return 1


def in_one_line(error: BaseException) -> str:
    """What went wrong, for a person."""
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full{where}: make room and run the same command again. Nothing was lost."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"No permission to write or read here{where}."
    return " ".join(str(error).split()) or type(error).__name__
