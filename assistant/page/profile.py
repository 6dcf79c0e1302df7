from __future__ import annotations
import gradio as gr
from typing import Any
def build_profile(services: Any, page: Any, tab: Any) -> Any:
    gr.Markdown("x")
