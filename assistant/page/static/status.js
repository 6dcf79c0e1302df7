// At the right of the tabs: which version answers, and what the learner does. Tells the conversation when a
// new version has gone live under an open page.

import { h, tell, toast } from "./dom.js";

export function mount({ element, trigger, props, watch }) {
  let version = null;
  const dot = h("span.at-dot", { "aria-hidden": "true" });
  const words = h("span.at-words");
  const chip = h("span.at-chip", { title: "The version that writes your replies" });
  element.replaceChildren(h("div.at-status", { role: "status", "aria-label": "Learning status" }, dot, words, chip));

  watch("value", draw);
  draw();

  function draw() {
    const now = props.value;
    if (!now) return;
    dot.dataset.state = now.state;
    words.textContent = now.words;
    chip.textContent = now.version ? `Version ${now.version}` : "Base";
    if (version !== null && version !== now.version) {
      if (now.version) tell("new-version", { version: now.version });
      toast(now.version ? `Version ${now.version} is live.` : "The base model answers again.");
    }
    version = now.version;
    tell("status", now);
  }
}
