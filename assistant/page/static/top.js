// Along the top: Chat, Profile, Settings as tabs, and at their right what the learner does and which version answers.
// Tells the other panels which tab is shown, and the conversation when a version has gone live under an open page.

import { api, h, on, tell, toast } from "./dom.js";
import { t } from "./words.js";

const LOOK_EVERY_MS = 2000;
const TABS = { chat: "Chat", profile: "Profile", settings: "Settings" };
export const PHASES = {
  "": "Starting",
  "base replies": "Asking the base model for comparison",
  "reward model": "Working out what you like",
  "more base replies": "Asking the base model for comparison",
  "warm start": "Imitating your edits and favourites",
  practice: "Practising",
  "policy optimisation": "Practising",
  rehearsal: "Practising",
  gate: "Checking whether it is better",
};

export function mount({ element }) {
  let version = null;
  let known = "";
  let shown = "chat";
  const tabs = Object.entries(TABS).map(([name, label]) => h("button.at-tab", {
    type: "button", role: "tab", id: `at-tab-${name}`, "aria-controls": `at-panel-${name}`, "data-tab": name,
    onclick: () => show(name), onkeydown: onKey,
  }, t(label)));
  const dot = h("span.at-dot", { "aria-hidden": "true" });
  const words = h("span.at-words");
  const chip = h("span.at-chip", { title: t("The version that writes your replies") });
  element.replaceChildren(h("div.at-top", {},
    h("div.at-tabs", { role: "tablist", "aria-label": t("Pages") }, tabs),
    h("div.at-status", { role: "status", "aria-label": t("Learning status") }, dot, words, chip)));

  /** Panels are there from the start and only hidden: what is half written in one is still there later. */
  function show(name) {
    shown = name;
    document.body.dataset.tab = name;
    for (const tab of tabs) {
      const selected = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    tell("tab", { name });
  }

  function onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.findIndex((tab) => tab.dataset.tab === shown) + step + tabs.length) % tabs.length];
    next.focus();
    show(next.dataset.tab);
  }

  /** Asked for over HTTP, not through Gradio's queue, where each look costs the page many times as much. */
  async function look() {
    if (document.hidden) return;
    try {
      const now = await api("GET", "/page/status");
      const key = JSON.stringify(now);
      if (key !== known) draw(now);
      known = key;
    } catch {
      // The server is away; whoever writes or rates is told so, and the next look may find it again.
    }
  }

  function draw(now) {
    dot.dataset.state = now.state;
    words.textContent = statusWords(now);
    chip.textContent = now.version ? t("Version {number}", { number: now.version }) : t("Base");
    if (version !== null && version !== now.version) {
      if (now.version) tell("new-version", { version: now.version });
      else toast(t("The base model answers again."));
    }
    version = now.version;
    tell("status", now);
  }

  on("show-tab", ({ name }) => show(name));
  on("feedback", look);
  document.addEventListener("visibilitychange", look);
  setInterval(look, LOOK_EVERY_MS);
  show(shown);
  look();
}

/** What the learner does, in one line. */
export function statusWords({ state, paused, phase, progress, minutes_left: left, new: fresh, learn_after: needed }) {
  if (state === "running" && paused) return t("Learning pauses after this step");
  if (state === "running") {
    const at = t("{phase}, {percent} %", { phase: t(PHASES[phase] ?? phase), percent: Math.round(progress * 100) });
    if (left === null || left === undefined) return at;
    return at + (left > 1 ? t(", about {minutes} minutes left", { minutes: left }) : t(", about a minute left"));
  }
  if (state === "waiting") return t("Learning starts soon");
  if (state === "off") return t("Learning is off");
  if (state === "paused") return t("Learning is paused");
  if (state === "away") return t("The learner is not running");
  return t("{new} of {needed} ratings until I learn", { new: fresh, needed });
}
