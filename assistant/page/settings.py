"""The Settings tab: stock Gradio components, each saved when it is left or let go."""

from __future__ import annotations

from typing import Any

import gradio as gr

from assistant.services import Services
from data.errors import AttuneError

# Settings in the order in which they are shown; names are the store's.
ORDER = (
    "system_prompt", "temperature", "max_tokens", "learning", "learn_after", "quiet_minutes", "theme",
)  # fmt: skip
THEMES = [("As the system", "auto"), ("Light", "light"), ("Dark", "dark")]

# Gradio decides on light or dark from the system. A choice made here is kept in the store, from where every
# browser of the person takes it when the page opens, and in this browser for the first paint.
APPLY_THEME = """(theme) => {
  localStorage.setItem("attune.theme", theme);
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.body.classList.toggle("dark", dark);
}"""
SIGN_OUT = (
    '<form method="post" action="/logout"><button type="submit">Sign out</button></form>'
    '<form method="post" action="/logout"><input type="hidden" name="everywhere" value="1">'
    '<button type="submit">Sign out everywhere</button></form>'
)


def build_settings(services: Services, page: gr.Blocks) -> None:
    """The tab's content, read when the page opens and written at every change."""
    with gr.Column(elem_classes="at-sheet at-settings"):
        gr.HTML("<h1>Settings</h1>", padding=False)
        fields: dict[str, Any] = {}
        with gr.Column(elem_classes="at-card"):
            gr.HTML("<h2>Replies</h2>", padding=False)
            fields["system_prompt"] = gr.Textbox(
                label="System prompt", info="What every conversation starts from.", lines=3, max_lines=12
            )
            fields["temperature"] = gr.Slider(
                0, 2, step=0.05, label="Temperature", info="0 always takes the likeliest word.", buttons=[]
            )
            fields["max_tokens"] = gr.Slider(
                16, 2048, step=8, label="Reply length", info="At most this many tokens.", buttons=[]
            )
        with gr.Column(elem_classes="at-card"):
            gr.HTML("<h2>Learning</h2>", padding=False)
            fields["learning"] = gr.Checkbox(label="Learn from my ratings")
            fields["learn_after"] = gr.Slider(
                5, 200, step=1, label="Learn after this many new ratings", buttons=[]
            )
            fields["quiet_minutes"] = gr.Slider(
                0, 60, step=1, label="and this many quiet minutes", buttons=[]
            )
        with gr.Column(elem_classes="at-card"):
            gr.HTML("<h2>Page</h2>", padding=False)
            fields["theme"] = gr.Radio(THEMES, label="Colours")
        with gr.Column(elem_classes="at-card", visible=False) as account:
            gr.HTML(f"<h2>Account</h2>{SIGN_OUT}", padding=False)
        saved = gr.HTML("", elem_id="at-settings-saved", padding=False)

    def read(request: gr.Request) -> list[Any]:
        person = services.current_user(request)
        values = services.store.settings(person.id)
        return [*(values[name] for name in ORDER), gr.Column(visible=person.password_hash is not None)]

    shown = [fields[name] for name in ORDER]
    # Read once, as the page opens: reading at every visit would overwrite what a quick hand has just changed.
    opened = page.load(read, None, [*shown, account], show_progress="hidden", api_visibility="private")
    opened.then(None, fields["theme"], None, js=APPLY_THEME)
    for name in ORDER:
        _save_on_change(services, name, fields[name], saved)
    fields["theme"].input(None, fields["theme"], None, js=APPLY_THEME)


def _save_on_change(services: Services, name: str, field: Any, saved: gr.HTML) -> None:
    def save(value: Any, request: gr.Request) -> str:
        try:
            services.store.update_settings(services.current_user(request).id, {name: _plain(name, value)})
        except AttuneError as error:
            gr.Warning(str(error))
            return "<p role='alert' class='at-saved' data-state='failed'>Not saved.</p>"
        return f"<p role='status' class='at-saved' data-state='saved'>Saved: {field.label}</p>"

    listen = {gr.Slider: "release", gr.Textbox: "blur"}.get(type(field), "input")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    getattr(field, listen)(save, field, saved, trigger_mode="multiple", **quiet)
    if listen == "release":  # a number typed beside the slider
        field.input(save, field, saved, trigger_mode="always_last", **quiet)


def _plain(name: str, value: Any) -> Any:
    """A slider gives 24.0 where the store wants the whole number 24."""
    return int(value) if name in ("max_tokens", "learn_after") and value is not None else value
