"""The one kind of component that is ours: a gr.HTML whose DOM is built by a JavaScript module.

`{{value}}` in an html_template is pasted into a JavaScript template literal, so `${...}` in a reply would
run as code. The template is therefore empty and stays so: the module named in the constructor gets the
value as data and builds elements from it, with text as text nodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio_client.utils import is_file_obj_with_meta, traverse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"


@lru_cache(maxsize=1)
def static_url() -> str:
    """Where the page's scripts and styles are served: the content's hash is part of the path, so that a
    browser keeps them for ever and still never mixes two releases."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"/page/{digest.hexdigest()[:12]}"


class _Immutable(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Any:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def serve_static(app: FastAPI) -> None:
    """Serve static/ under `static_url()`; no person's data is in it."""
    app.mount(static_url(), _Immutable(directory=STATIC), name="page_static")


def make_panel(module: str, events: Sequence[str], value: Any = None, **kwargs: Any) -> gr.HTML:
    """A component drawn by `module`, a file in static/ that exports `mount({element, trigger, props, watch})`.

    `events` are the names it may trigger; each is a listener of the component (`panel.send(handler)`).
    Not a subclass: Gradio writes a .pyi file beside the source of every class made from a component.
    """
    # The event names must stand quoted in the script: that is how gr.HTML knows that they exist.
    script = (
        f"const events = {json.dumps(list(events))};"
        f'Promise.all([import("{static_url()}/panel.js"), import("{static_url()}/{module}")])'
        ".then(([panel, module]) => panel.mountPanel(module, {element, trigger, props, watch, events}))"
        '.catch((e) => { element.textContent = "This page could not be drawn: " + e; });'
    )
    panel = gr.HTML(
        value,
        html_template="",
        css_template="",
        js_on_load=script,
        apply_default_css=False,
        container=False,
        padding=False,
        **kwargs,
    )
    panel.postprocess = without_files  # type: ignore[method-assign]
    return panel


def without_files(value: Any) -> Any:
    """A view in which nothing is a file. Gradio copies what looks like one into a folder that it serves, or fetches its
    address; no view of ours has files, so that such a thing can only come from outside (an imported report, say)."""
    return traverse(value, lambda _: None, is_file_obj_with_meta)
