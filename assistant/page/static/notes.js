// Preference notes: wishes in one's own words that every reply gets to read. Add, change, switch off, delete.

import { api, card, h, iconButton, redrawn, toast } from "./dom.js";
import { t } from "./words.js";

const MOST_CHARS = 2000;

/** `report(state, text)` says that something was stored, or was not. */
export function makeNotes(report) {
  let notes = [];
  let editing = null; // id of the note whose text is being changed
  const list = h("ul.at-rows", { "aria-label": t("Notes") });
  const text = h("input", { type: "text", "aria-label": t("New note"), placeholder: t("I am a nurse; use simple words."), maxlength: MOST_CHARS });
  const form = h("form.at-inline", {}, text, h("button", { type: "submit" }, t("Add note")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const added = text.value.trim();
    if (added && await put([...notes, { text: added }])) text.value = "";
  });
  const element = card("Notes about you",
    h("p.at-small", {}, t("What every reply should know or keep to, from the next one on. It needs no learning.")), list, form);

  async function put(changed) {
    try {
      notes = (await api("PUT", "/v1/profile/notes", { notes: changed })).notes;
      report("saved", t("Saved: {what}", { what: t("Notes about you") }));
      return true;
    } catch (error) {
      report("failed", t("Not saved: {why}", { why: error.message }));
      return false;
    } finally {
      draw();
    }
  }

  function draw() {
    redrawn(element, () => {
      list.hidden = !notes.length;
      list.replaceChildren(...notes.map((note) => (note.id === editing ? editor(note) : row(note))));
    });
  }

  function row(note) {
    const on = h("input", {
      type: "checkbox", checked: note.enabled, "aria-label": t("Use: {note}", { note: note.text }),
      onchange: () => put(notes.map((one) => (one.id === note.id ? { ...one, enabled: on.checked } : one))),
    });
    return h("li", { "data-note": note.id }, on, h("span.at-grow", { class: note.enabled ? "at-grow" : "at-grow at-off" }, note.text),
      iconButton("pencil", t("Edit: {note}", { note: note.text }), () => { editing = note.id; draw(); list.querySelector("form input").focus(); }),
      iconButton("trash", t("Delete: {note}", { note: note.text }), () => remove(note)));
  }

  function editor(note) {
    const input = h("input", { type: "text", value: note.text, "aria-label": t("Note"), maxlength: MOST_CHARS });
    const end = () => { editing = null; draw(); };
    const form = h("form.at-inline", {}, input, h("button", { type: "submit" }, t("Save")), h("button", { type: "button", onclick: end }, t("Cancel")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      editing = null;
      const changed = input.value.trim();
      if (changed && changed !== note.text) put(notes.map((one) => (one.id === note.id ? { ...one, text: changed } : one)));
      else draw();
    });
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") end(); });
    return h("li", { "data-note": note.id }, form);
  }

  async function remove(note) {
    const before = notes;
    if (await put(notes.filter((one) => one.id !== note.id))) {
      toast(t("Note deleted."), { action: { label: t("Undo"), run: () => put(before) } });
    }
  }

  draw();
  return { element, draw(now) { notes = now; editing = null; draw(); } };
}
