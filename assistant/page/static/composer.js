// Where one writes: grows with the text, Enter sends, Shift+Enter makes a line, Stop while a reply is written.

import { h, icon } from "./dom.js";
import { t } from "./words.js";

const TALLEST_PX = 220;
const DRAFT = "attune.draft"; // of this tab: a reload does not lose what is half written

/** `send(text, compare)` and `stop()` are called; the text stays until `accepted(text)`. */
export function makeComposer({ send, stop }) {
  let busy = false;
  const box = h("textarea", {
    rows: 1, placeholder: t("Message Attune"), "aria-label": t("Message"), enterkeyhint: "send",
    oninput: grow, onkeydown: onKey,
  });
  const compare = h("button.at-compare", {
    type: "button", "aria-pressed": "false", title: t("Get two answers and say which one is better"),
    onclick: () => compare.setAttribute("aria-pressed", String(compare.getAttribute("aria-pressed") !== "true")),
  }, icon("versus"), h("span", {}, t("Compare two answers")));
  const sendButton = h("button.at-send", { type: "button", "aria-label": t("Send"), title: t("Send"), onclick: submit }, icon("send"));
  const stopButton = h("button.at-stop", { type: "button", onclick: stop, hidden: true }, icon("stop"), h("span", {}, t("Stop")));
  const problem = h("p.at-problem", { role: "alert", hidden: true });
  const element = h("div.at-composer", {},
    problem,
    h("div.at-composer-box", {}, box, h("div.at-composer-row", {}, compare, h("span.at-spacer"), stopButton, sendButton)));

  function grow() {
    box.style.height = "auto";
    // While the page is being built nothing has a height yet; then the one line of `rows` is right.
    if (box.scrollHeight) box.style.height = `${Math.min(box.scrollHeight, TALLEST_PX)}px`;
    sendButton.disabled = busy || !box.value.trim();
    sessionStorage.setItem(DRAFT, box.value);
  }

  function onKey(event) {
    // During composition (Chinese, Japanese ...) Enter chooses a word; it does not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  }

  function submit() {
    const text = box.value.trim();
    if (busy || !text) return;
    fail("");
    send(text, compare.getAttribute("aria-pressed") === "true");
  }

  function fail(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  box.value = sessionStorage.getItem(DRAFT) ?? "";
  grow();
  return {
    element,
    fail,
    focus: () => box.focus(),
    accepted(text) {
      if (box.value.trim() !== text) return; // the next message is being written already
      box.value = "";
      compare.setAttribute("aria-pressed", "false");
      grow();
    },
    setBusy(now) {
      if (now === busy) return; // called with every chunk, and measuring the box costs a layout
      busy = now;
      const hadFocus = document.activeElement === stopButton;
      stopButton.hidden = !now;
      sendButton.hidden = now;
      grow();
      if (!now && hadFocus) box.focus();
    },
  };
}
