"""`settings`: how the learner learns and what it may take; for everybody in this home, from the next update on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.commands.opened import opened_store, show
from learner.config import LEARNER_SETTINGS, LearnerConfig, checked, named_values, with_overrides

PREFIX = "learner."
DEFAULT = "default"


def settings(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        changed = changed_by(store.home_setting(LEARNER_SETTINGS, {}), options.values)
        found = named_values(checked(with_overrides(LearnerConfig(), changed)))
        if options.values:
            store.set_home_setting(LEARNER_SETTINGS, changed)
    shown = {PREFIX + name: value for name, value in found.items()}
    if options.values:  # what was said, not all there is
        shown = {name: shown[name] for name in (given.partition("=")[0] for given in options.values)}

    def as_text() -> str:
        return "\n".join(
            f"{'*' if name.removeprefix(PREFIX) in changed else ' '} {name} = {json.dumps(value)}"
            for name, value in shown.items()
        )

    show(options, {"settings": shown, "changed": [PREFIX + name for name in changed]}, as_text)
    return 0


def changed_by(changed: Mapping[str, Any], values: Sequence[str]) -> dict[str, Any]:
    """What differs from the defaults after `values`, each learner.NAME=VALUE. Invalid for an unknown name."""
    found = dict(changed)
    for given in values:
        full_name, _, text = given.partition("=")
        name = full_name.removeprefix(PREFIX)
        if text == DEFAULT:
            with_overrides(LearnerConfig(), {name: named_values(LearnerConfig()).get(name)})  # there is such a name
            found.pop(name, None)
            continue
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:  # a word, such as dpo
            found[name] = text
    return found
