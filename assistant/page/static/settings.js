// The Settings tab. Every field is stored as soon as it is left, says so, and goes back to what is stored where that
// was refused: what is shown is what holds.

import { makeAccount } from "./account.js";
import { api, card, h, tell } from "./dom.js";
import { makeNotes } from "./notes.js";
import { makePeople } from "./people.js";
import { LANGUAGES, said, speak, t, told } from "./words.js";

// Which kind of reward model practice follows (learner/reward/kinds.py).
const REWARD_MODELS = {
  bayesian: "A careful one that knows how sure it is (usual)",
  linear: "The simplest one: your ratings as plain numbers",
  length: "Length alone, to compare with",
  neural: "A neural one that reads whole replies: takes minutes, wants hundreds of ratings",
  auto: "Whichever predicts my ratings best",
};
const THEMES = { auto: "As the system", light: "Light", dark: "Dark" };

export function mount({ element, trigger, props, watch }) {
  const state = h("p.at-saved", { "data-testid": "settings-saved", role: "status" });
  const fields = [
    textArea("system_prompt", "System prompt", "What every new conversation starts from."),
    number("temperature", "Temperature", "0 always takes the likeliest word; higher is more varied.", { min: 0, max: 2, step: 0.05 }),
    number("max_tokens", "Reply length", "At most this many tokens; a word is one or two.", { min: 1, max: 8192, step: 1 }),
    checkbox("learning", "Learn from my ratings", "Off: ratings are kept, and nothing is learnt from them."),
    number("learn_after", "Learn after this many new ratings", null, { min: 1, max: 10000, step: 1 }),
    number("quiet_minutes", "and this many quiet minutes", "So that learning does not slow down a chat.", { min: 0, max: 1440, step: 1 }),
    checkbox("offer_comparisons", "Now and then offer two answers to compare", "A comparison tells more than a single rating."),
    choice("reward_model", "How I work out what you like", REWARD_MODELS, null,
      "What turns your ratings into a score of replies; the next update practises against it. Whether a version goes live is always judged by the careful one."),
    choice("language", "Language", LANGUAGES, speak),
    choice("theme", "Colours", THEMES, applyTheme),
  ];
  const field = (name) => fields.find((one) => one.name === name).element;
  const notes = makeNotes(report);
  const account = makeAccount(ask);
  const people = makePeople(ask);
  element.replaceChildren(h("div.at-sheet", { id: "at-panel-settings", role: "tabpanel", "aria-labelledby": "at-tab-settings" },
    h("h1", {}, t("Settings")),
    card("Replies", field("system_prompt"), h("div.at-pair", {}, field("temperature"), field("max_tokens"))),
    notes.element,
    card("Learning", field("learning"), h("div.at-pair", {}, field("learn_after"), field("quiet_minutes")), field("offer_comparisons"), field("reward_model")),
    card("Page", field("language"), field("theme")),
    account.element,
    people.element,
    state));

  let stored = null;
  let nonce = 0;

  /** Store one setting, `label` its English name; on refusal the field shows again what is stored. */
  async function save(name, label, value, apply) {
    try {
      stored = await api("PATCH", "/v1/profile/settings", { [name]: value });
      report("saved", t("Saved: {what}", { what: t(label) }));
      tell("settings", stored);
      apply?.(value);
    } catch (error) {
      // The server says the setting's name as programs know it; a person knows it by its label.
      const refused = `The setting ${name} `;
      const why = error.said?.startsWith(refused) ? said(`${label} ${error.said.slice(refused.length)}`) : error.message;
      report("failed", t("Not saved: {why}", { why }));
    }
    draw();
  }

  function report(name, text) {
    state.dataset.state = name;
    state.textContent = text;
    state.setAttribute("role", name === "failed" ? "alert" : "status");
  }

  /** An event of the page for what has no HTTP route; the answer comes as a new value. */
  function ask(event, detail) {
    nonce += 1;
    trigger(event, { ...detail, nonce });
  }

  function update() {
    const value = props.value;
    if (!value) return;
    if (value.error) report("failed", said(value.error));
    if (value.done) report("saved", told(value.done));
    if (value.signed_out) return location.assign("/login");
    stored = value.settings;
    if (speak(stored.language)) return undefined;
    applyTheme(stored.theme);
    tell("settings", stored);
    notes.draw(value.notes);
    account.draw(value);
    people.draw(value.people);
    return draw();
  }

  function draw() {
    for (const one of fields) if (stored) one.show(stored[one.name]);
  }

  // --- One kind of field each: {name, element, show(value)} ---

  function labelled(label, hint, input, id) {
    if (hint) input.setAttribute("aria-describedby", `${id}-hint`);
    return h("div.at-field", {}, h("label", { for: id }, t(label)), input, hint && h("p.at-small", { id: `${id}-hint` }, t(hint)));
  }

  function textArea(name, label, hint) {
    const input = h("textarea", { id: `at-set-${name}`, rows: 3, onchange: () => save(name, label, input.value) });
    return { name, element: labelled(label, hint, input, input.id), show: (value) => { if (document.activeElement !== input) input.value = value; } };
  }

  function number(name, label, hint, limits) {
    const input = h("input", { id: `at-set-${name}`, type: "number", ...limits, onchange: () => {
      if (!Number.isNaN(input.valueAsNumber)) return save(name, label, input.valueAsNumber);
      report("failed", t("Not saved: {why}", { why: t("{what} needs a number.", { what: t(label) }) }));
      return draw();
    } });
    return { name, element: labelled(label, hint, input, input.id), show: (value) => { input.value = value; } };
  }

  function checkbox(name, label, hint) {
    const input = h("input", { id: `at-set-${name}`, type: "checkbox", onchange: () => save(name, label, input.checked) });
    const element = h("div.at-check", {}, input, h("div", {}, h("label", { for: input.id }, t(label)), hint && h("p.at-small", { id: `${input.id}-hint` }, t(hint))));
    if (hint) input.setAttribute("aria-describedby", `${input.id}-hint`);
    return { name, element, show: (value) => { input.checked = value; } };
  }

  function choice(name, label, options, apply, hint) {
    const inputs = Object.entries(options).map(([value, text]) => ({
      value, text, input: h("input", { type: "radio", name: `at-set-${name}`, onchange: () => save(name, label, value, apply) }),
    }));
    const hinted = hint && `at-set-${name}-hint`;
    const element = h("fieldset.at-field", { "aria-describedby": hinted }, h("legend", {}, t(label)),
      hint && h("p.at-small", { id: hinted }, t(hint)),
      h("div", { class: hint ? "at-choices at-column-of" : "at-choices" }, inputs.map(({ value, text, input }) =>
        h("label.at-option", { lang: name === "language" ? value : null }, input, name === "language" ? text : t(text)))));
    return { name, element, show: (now) => { for (const { value, input } of inputs) input.checked = value === now; } };
  }

  watch("value", update);
  update();
}

function applyTheme(theme) {
  localStorage.setItem("attune.theme", theme);
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.body.classList.toggle("dark", dark);
}
