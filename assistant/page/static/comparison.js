// Two answers side by side; saying which one is better (or that they tie) is stored as a ranking.

import { api, h, tell } from "./dom.js";
import { decorateCode } from "./reply_text.js";
import { updateHtml } from "./safe.js";
import { t } from "./words.js";

const LETTERS = ["A", "B"];

/** `done(id)` is called with the reply to go on with, once the choice is stored. */
export function makeComparison(key, done) {
  const came = performance.now();
  let value = null;
  const columns = LETTERS.map((letter) => ({
    text: h("div.at-reply-text"),
    element: null,
    letter,
  }));
  for (const column of columns) {
    column.element = h("section.at-column", { "aria-label": t("Answer {letter}", { letter: column.letter }) }, h("h3", {}, t("Answer {letter}", { letter: column.letter })), column.text);
  }
  const choice = (label, order) => h("button", { type: "button", onclick: () => choose(order()) }, label);
  const ids = () => value.replies.map((reply) => reply.id);
  const buttons = h("div.at-choice", { role: "group", "aria-label": t("Which answer is better?"), hidden: true },
    choice(t("A is better"), () => [[ids()[0]], [ids()[1]]]),
    choice(t("Tie"), () => [ids()]),
    choice(t("B is better"), () => [[ids()[1]], [ids()[0]]]));
  const state = h("span.at-saved", { role: "status", "data-testid": "save-state" });
  const side = h("div.at-columns", {}, columns.map((column) => column.element));
  const waiting = h("p.at-choosing", { role: "status" }, t("I am writing two more answers. Of all three you will see the two that tell me most about your taste."));
  const element = h("section.at-comparison", { "aria-label": t("Compare two answers") },
    waiting, side, buttons, state);

  function update(now) {
    value = now;
    waiting.hidden = !now.choosing;
    side.hidden = Boolean(now.choosing);
    columns.forEach((column, index) => {
      if (now.replies[index]) updateHtml(column.text, now.replies[index].html, decorateCode);
    });
    buttons.hidden = !now.id;
  }

  async function choose(order) {
    const seen = (performance.now() - came) / 1000;
    state.dataset.state = "saving";
    state.textContent = t("Saving…");
    for (const button of buttons.children) button.disabled = true;
    try {
      await api("POST", "/v1/feedback", { comparison_id: value.id, kind: "ranking", value: { order }, seen_s: seen });
      state.dataset.state = "saved";
      state.textContent = t("Saved");
      tell("feedback", { kind: "ranking" });
      setTimeout(() => done(order[0][0]), 900); // long enough to read that it was saved
    } catch (error) {
      state.dataset.state = "failed";
      state.textContent = t("Not saved: {why}", { why: error.message });
      for (const button of buttons.children) button.disabled = false;
    }
  }

  return { key, element, update, first: () => ids()[0] };
}
