"""The page: three tabs (Chat, Profile, Settings) and the side list, mounted in the chat server at "/".

Drawn by our own panels (component.py): gr.Chatbot has room for one kind of feedback on a message, so that thumbs
and stars exclude each other, and regenerates the last reply only; stock tabs and fields speak the browser's
language, not the person's, and each kind is one more thing to load. Gradio carries the events and their values.
Handlers are in turns.py, sidebar.py, profile.py and settings.py; this file wires them.
"""

from __future__ import annotations

import os
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request

from assistant.page.component import STATIC, make_panel, serve_static, static_url
from assistant.page.profile import build_profile
from assistant.page.settings import build_settings
from assistant.page.sidebar import Conversations
from assistant.page.status import status_view
from assistant.page.turns import Turns
from assistant.page.view import empty_view
from assistant.services import Services

# Gradio keeps the last value of everything on a page, a whole conversation, until so many others were opened.
OPEN_PAGES = 64
AT_ONCE = 32  # events of one kind that may run side by side: people do not wait for one another
# The colours chosen in Settings hold from the start; Gradio itself knows only the system's, and sets its
# class more than once while it loads.
FIRST_PAINT = """
(() => {
  const hold = () => {
    const theme = localStorage.getItem("attune.theme");
    if (theme !== "dark" && theme !== "light") return;
    if (document.body.classList.contains("dark") !== (theme === "dark")) document.body.classList.toggle("dark");
  };
  const watching = new MutationObserver(hold);
  watching.observe(document.body, { attributes: true, attributeFilter: ["class"] });
  setTimeout(() => watching.disconnect(), 4000);
  hold();
})();
"""
# What our handlers cannot catch (the sign-in has ended, say): the composer must not wait for the turn's end.
TURN_FAILED = "() => ({ failed: Date.now() })"
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def mount_page(app: FastAPI, services: Services) -> None:
    """Serve the page at "/" of `app`; call it after every other route is there, for "/" takes all the rest."""
    os.environ["GRADIO_TEMP_DIR"] = str(services.home.tmp_dir)  # uploads stay in the home
    serve_static(app)
    add_status_route(app, services)
    gr.mount_gradio_app(
        app,
        build_page(services),
        path="/",
        theme=_theme(),
        head=_head(),
        favicon_path=str(STATIC / "favicon.svg"),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        ssr_mode=False,
        show_error=False,
        max_file_size="4gb",
    )


def build_page(services: Services) -> gr.Blocks:
    """The page as Gradio blocks, every event wired."""
    with gr.Blocks(
        title="Attune", analytics_enabled=False, fill_width=True, elem_id="at-app", elem_classes="at-app"
    ) as page:
        address = gr.Textbox(visible=False, elem_id="at-address")
        side = make_panel(
            "sidebar.js", ["open", "new", "rename", "delete", "restore", "search"], elem_id="at-side"
        )
        with gr.Column(elem_id="at-main"):
            make_panel("top.js", [], elem_id="at-top-panel")
            conversation = make_panel(
                "conversation.js",
                ["send", "say_again", "regenerate", "compare", "stop", "refresh", "show"],
                value=empty_view(),
                elem_id="at-conversation",
            )
            turn = make_panel("turn.js", [], elem_id="at-turn")
            build_profile(services)
            build_settings(services, page)
        _wire_chat(services, page, address, side, conversation, turn)
    page.state_session_capacity = OPEN_PAGES
    page.queue(default_concurrency_limit=AT_ONCE, max_size=None)
    return page


def _wire_chat(
    services: Services, page: gr.Blocks, address: gr.Textbox, side: gr.HTML, conversation: gr.HTML, turn: gr.HTML,
) -> None:  # fmt: skip
    turns, conversations = Turns(services), Conversations(services)
    page.load(
        conversations.open_at_start, address, [conversation, side],
        js="() => decodeURIComponent(location.hash)", **QUIET,
    )  # fmt: skip
    for listen, handler in (
        (conversation.send, turns.send),
        (conversation.say_again, turns.say_again),
        (conversation.regenerate, turns.regenerate),
        (conversation.compare, turns.compare),
    ):
        # Two conversations may be written at once; that one is not written twice is checked where it is stored.
        started = listen(handler, None, turn, trigger_mode="multiple", concurrency_limit=None, **QUIET)
        started.then(conversations.listed, None, side, **QUIET)
        started.failure(None, None, turn, js=TURN_FAILED, **QUIET)
    conversation.stop(turns.stop, None, None, trigger_mode="multiple", **QUIET)
    refreshed = conversation.refresh(turns.refresh, None, turn, trigger_mode="multiple", **QUIET)
    refreshed.failure(None, None, turn, js=TURN_FAILED, **QUIET)
    conversation.show(conversations.open, None, conversation, trigger_mode="multiple", **QUIET)

    side.open(conversations.open, None, conversation, trigger_mode="multiple", **QUIET)
    side.new(conversations.new, None, conversation, trigger_mode="multiple", **QUIET)
    side.new(
        conversations.listed, None, side, **QUIET
    )  # a new chat that is left while it is written is found there
    side.rename(conversations.rename, None, side, trigger_mode="multiple", **QUIET)
    side.delete(conversations.delete, None, [conversation, side], trigger_mode="multiple", **QUIET)
    side.restore(conversations.restore, None, [conversation, side], trigger_mode="multiple", **QUIET)
    side.search(conversations.search, None, side, trigger_mode="always_last", **QUIET)


def add_status_route(app: FastAPI, services: Services) -> None:
    """What may change without a click: the learner's progress and the live version."""

    @app.get("/page/status", include_in_schema=False)
    def status(request: Request) -> dict[str, Any]:
        return status_view(services.store, services.current_user(request).id)


def _theme() -> gr.themes.Base:
    """What Gradio itself draws (the frame, its own messages) in the page's colours; fonts of the system, so that
    none is fetched."""
    fonts = [gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")]
    theme = gr.themes.Base(font=fonts, font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")])
    return theme.set(
        body_background_fill="var(--at-bg)", body_background_fill_dark="var(--at-bg)",
        block_background_fill="transparent", block_background_fill_dark="transparent",
        block_border_width="0px", block_border_width_dark="0px", block_shadow="none", block_padding="0",
        body_text_color="var(--at-text)", body_text_color_dark="var(--at-text)",
    )  # fmt: skip


def _head() -> str:
    """Styles before the first paint, scripts fetched while Gradio still starts."""
    url = static_url()
    styles = "".join(
        f'<link rel="stylesheet" href="{url}/{name}">' for name in ("page.css", "conversation.css")
    )
    scripts = "".join(
        f'<link rel="modulepreload" href="{url}/{path.name}">' for path in sorted(STATIC.glob("*.js"))
    )
    return f'<meta name="color-scheme" content="light dark">{styles}{scripts}<script>{FIRST_PAINT}</script>'
