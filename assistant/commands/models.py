"""`fetch-model`: the only command that talks to the model hub. Serving is offline from then on."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from assistant.commands.opened import show
from data.errors import AttuneError, Invalid
from data.home import Home
from data.store import Store
from learner.modeling.embedded import EMBEDDED, EMBEDDED_FOLDER, prepare_embedded

# Weights as safetensors, configuration, tokenizer, chat template: no pickle, no code.
WANTED_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


def fetch_model(options: argparse.Namespace) -> int:
    home = Home.locate(options.home).create()
    if options.model_id == EMBEDDED:
        prepare_model(EMBEDDED, home)
        folder = str(home.models_dir / EMBEDDED_FOLDER)
    else:
        folder = fetch_from_hub(options.model_id)
    show(options, {"model": options.model_id, "folder": str(folder)}, lambda: f"Fetched {options.model_id}.")
    return 0


def prepare_model(model: str, home: Home) -> None:
    """Fetch and convert the embedded model on the first start; whoever loads another one checks it."""
    if model != EMBEDDED:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("the model", total=1.0, visible=False)
        prepare_embedded(
            home.models_dir,
            lambda text, share: bar.update(task, description=text, completed=share, visible=True),
        )


def model_of(options: argparse.Namespace, store: Store | None = None) -> str:
    """What `--model` names, a path made absolute; without it the one `store` saw last, or `embedded`."""
    if options.model is None:
        base = store.base() if store is not None else None
        return base.id if base else EMBEDDED
    path = Path(options.model).expanduser()
    return str(path.absolute()) if path.exists() and options.model != EMBEDDED else str(options.model)


def fetch_from_hub(model_id: str) -> str:
    """Fetch a model into the hub's own cache (not the home), where `--model` finds it. Returns its folder.

    Raises AttuneError where nothing came that could be loaded.
    """
    if model_id.count("/") != 1 or model_id.startswith((".", "/", "~")):
        raise Invalid(f"{model_id!r} is not a hub id (owner/name); a folder or file needs no fetching.")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model_id, allow_patterns=WANTED_FILES))
    except Exception as error:  # the hub's client raises from several libraries: network, HTTP, disk
        if isinstance(error, OSError) and error.errno is not None and error.filename:
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise AttuneError(f"The model {model_id!r} could not be fetched: {reason}") from error
    if not any(folder.rglob("*.safetensors")):
        raise AttuneError(
            f"The model {model_id!r} has no weights as safetensors, and other formats are not fetched; "
            "a GGUF file that you downloaded yourself works with --model FILE."
        )
    return str(folder)
