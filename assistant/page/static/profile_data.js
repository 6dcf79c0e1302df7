// Taking the profile along, bringing one in, and starting anew.

import { card, h, tell, toast } from "./dom.js";
import { said, t } from "./words.js";

const RESETS = {
  model: ["What was learnt", "Your live version goes: the base model answers again. Ratings and conversations stay, and teach the next version. Until they are removed in 30 days, earlier versions can be brought back."],
  feedback: ["Conversations, ratings and what was learnt", "All conversations go, with the ratings on them, and all versions: the base model answers again. Notes and settings stay."],
  all: ["Everything", "All conversations, ratings and versions go, and your notes and settings: the base model answers again."],
};
const CONFIRMATION = "reset";

export function makeData(act) {
  return card("Your data",
    h("p", {}, t("Everything is on this machine. One file holds it all: ratings, conversations, settings, versions.")),
    h("div.at-card-head", {},
      h("a.at-button", { href: "/v1/profile/export", download: "attune-profile.zip" }, t("Export profile")),
      makeImport(act)),
    makeReset(act));
}

function makeImport(act) {
  const file = h("input", { type: "file", accept: ".zip,application/zip", "aria-label": t("Profile file to import"), onchange: send, hidden: true });
  const button = h("button", { type: "button", onclick: () => file.click() }, t("Import profile…"));

  async function send() {
    const [chosen] = file.files;
    if (!chosen) return;
    button.disabled = true;
    button.textContent = t("Importing…");
    try {
      const response = await fetch("/v1/profile/import", { method: "POST", headers: { "Content-Type": "application/zip" }, body: chosen });
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(said(answer?.error?.message) || t("The server answered {status}.", { status: response.status }));
      toast(t("Imported. Its versions are listed under Versions; none is live until you say so."), { seconds: 10 });
      await act("GET", "/v1/learner");
      tell("conversations-changed", { open: true });
    } catch (error) {
      toast(error.message, { kind: "error", seconds: 12 });
    }
    file.value = "";
    button.disabled = false;
    button.textContent = t("Import profile…");
  }

  return h("span", {}, file, button);
}

function makeReset(act) {
  const says = h("p.at-small");
  const what = h("select", { "aria-label": t("What to reset"), onchange: draw },
    Object.entries(RESETS).map(([value, [label]]) => h("option", { value }, t(label))));
  const typed = h("input", { type: "text", "aria-label": t("Type {word} to confirm", { word: CONFIRMATION }), placeholder: t("Type “{word}”", { word: CONFIRMATION }), autocomplete: "off", oninput: draw });
  const button = h("button", { type: "button", onclick: run }, t("Reset"));
  const undo = h("button.at-link", { type: "button", onclick: takeBack }, t("Undo the last reset"));

  function draw() {
    says.textContent = `${t(RESETS[what.value][1])} ${t("It can be undone for 30 days.")}`;
    button.disabled = typed.value.trim().toLowerCase() !== CONFIRMATION;
  }

  async function run() {
    const done = await act("POST", "/v1/profile/reset", { what: what.value }, t("Done. It can be undone for 30 days."));
    if (done) tell("conversations-changed", { open: what.value === "model" });
    typed.value = "";
    draw();
  }

  async function takeBack() {
    const done = await act("POST", "/v1/profile/undo-reset", {}, t("The last reset was undone."));
    if (done) tell("conversations-changed", { open: true });
  }

  draw();
  return h("details.at-reset", {}, h("summary", {}, t("Reset")), h("div.at-card-head", {}, what, typed, button), says, undo);
}
