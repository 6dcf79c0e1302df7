"""What can be typed, and what is refused with exit code 2."""

from __future__ import annotations

import pytest

from assistant.commands.chat import children
from assistant.commands.line import COMMANDS, build_parser, in_one_line, parse
from data.home import Home


def test_no_command_means_chat_with_its_options_where_they_stand():
    options = parse(["--no-browser", "--port", "8000", "--home", "x"])
    assert (options.command, options.no_browser, options.port, options.home) == ("chat", True, 8000, "x")
    assert (options.host, options.model, options.device) == ("127.0.0.1", None, "auto")
    assert parse(["chat", "--port", "8000"]).port == 8000
    assert parse([]).port == 7860


def test_names_to_be_reached_under_are_passed_on_to_the_server(tmp_path):
    assert parse([]).allow_host == ()
    options = parse(["chat", "--allow-host", "a.example", "--allow-host", "b.example"])
    server = children(options, "embedded", Home(tmp_path), "http://127.0.0.1:7860")[0]
    command = list(server.command)
    names = [command[i + 1] for i, word in enumerate(command) if word == "--allow-host"]
    assert names == ["a.example", "b.example"]


@pytest.mark.parametrize("arguments", [["--home", "x", "status"], ["status", "--home", "x"]])
def test_common_options_stand_before_or_after_the_command(arguments):
    assert parse(arguments).home == "x"
    assert parse(arguments).user == "me"


def test_a_value_before_the_command_is_not_undone_by_the_commands_defaults():
    options = parse(["--json", "--user", "ada", "--model", "m", "learn"])
    assert (options.json, options.user, options.model) == (True, "ada", "m")


def test_what_follows_test_goes_to_pytest_in_order():
    options = parse(["test", "-k", "a and b", "-x", "tests/launch", "-m", "slow"])
    assert options.pytest_arguments == ["-k", "a and b", "-x", "tests/launch", "-m", "slow"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["status", "--nonsense"],
        ["status", "extra"],
        ["--port", "0"],
        ["--port", "65536"],
        ["--port", "http"],
        ["--device", "tpu"],
        ["--port", "8000", "status"],
        ["--no-browser", "learn"],
        ["learn", "--allow-host", "a.example"],
        ["settings", "budget_minutes=3"],
        ["settings", "learner.seed"],
        ["rollback"],
        ["rollback", "--to", "-1"],
        ["export"],
        ["import"],
        ["reset", "--what", "nothing"],
        ["users"],
        ["keys", "add"],
        ["--hom", "x", "status"],  # no abbreviations: they would change meaning with the next option
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert "error:" in capsys.readouterr().err.splitlines()[-1]


def test_every_offered_command_has_an_implementation_and_help(capsys):
    import importlib

    subparsers = next(a for a in build_parser()._actions if hasattr(a, "choices") and a.dest == "command")
    for name in subparsers.choices:
        with pytest.raises(SystemExit) as exit_:
            parse([name, "--help"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out.startswith("usage: ")
        if name != "lock":
            module, function = COMMANDS[name]
            assert callable(getattr(importlib.import_module(f"assistant.commands.{module}"), function))


def test_a_full_disk_and_a_missing_permission_read_as_one_line():
    full = in_one_line(OSError(28, "No space left on device", "/x/attune.db"))
    assert "disk is full" in full and "/x/attune.db" in full and "\n" not in full
    assert "No permission" in in_one_line(PermissionError(13, "Permission denied", "/x"))
    assert in_one_line(ValueError("two\nlines")) == "two lines"
