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


class Panel(gr.HTML):
    """`module` (a file in static/) exports `mount({element, trigger, props, watch})`; `events` are the
    names it may trigger, each of them a listener of this component (`panel.send(handler)`)."""

    def __init__(self, module: str, events: Sequence[str], value: Any = None, **kwargs: Any) -> None:
        # The event names must stand quoted in the script: that is how gr.HTML knows that they exist.
        script = (
            f"const events = {json.dumps(list(events))};"
            f'import("{static_url()}/{module}")'
            ".then((m) => m.mount({element, trigger, props, watch, events}))"
            '.catch((e) => { element.textContent = "This page could not be drawn: " + e; });'
        )
        super().__init__(
            value,
            html_template="",
            css_template="",
            js_on_load=script,
            apply_default_css=False,
            container=False,
            padding=False,
            **kwargs,
        )

    def get_block_name(self) -> str:
        return "html"

    def get_config(self, cls: type | None = None) -> dict[str, Any]:  # type: ignore[override]
        """The constructor's own arguments stay in Python; the front end knows gr.HTML's alone."""
        config = gr.components.Component.get_config(self, gr.HTML)
        config["component_class_name"] = self.component_class_name
        return config
