// Who may sign in here, for an admin: everybody by name, a new account, removing one. Nothing of what they said is shown.

import { passwordForm } from "./account.js";
import { card, h, redrawn } from "./dom.js";
import { day, t } from "./words.js";

export function makePeople(ask) {
  let drawn = "";
  const list = h("ul.at-rows", { "aria-label": t("People") });
  const name = h("input", { type: "text", "aria-label": t("Name of the new person"), placeholder: t("Name"), autocomplete: "off", maxlength: 64, required: true });
  const form = h("form.at-inline", { "aria-label": t("Add a person") }, name);
  const element = card("People", h("p.at-small", {}, t("Who may sign in here. Nobody sees what another one says, an admin neither.")), list,
    h("details", {}, h("summary", {}, t("Add a person")),
      passwordForm(form, "Add", (chosen) => ask("add_person", { name: name.value.trim(), password: chosen }))));

  function row(person) {
    const role = person.admin ? t("admin") : person.account ? t("account") : t("no password");
    return h("li", { "data-person": person.id },
      h("div.at-grow", {}, h("strong", {}, person.name), h("p", {}, t("{role}, since {day}", { role, day: day(person.created) })), !person.self && remover(person)));
  }

  function remover({ id, name: who }) {
    const typed = h("input", { type: "text", "aria-label": t("Type {word} to confirm", { word: who }), placeholder: t("Type “{word}”", { word: who }), autocomplete: "off", required: true });
    const button = h("button", { type: "submit", disabled: true }, t("Remove {name}", { name: who }));
    typed.addEventListener("input", () => { button.disabled = typed.value !== who; });
    const confirm = h("form.at-inline", {}, typed, button);
    confirm.addEventListener("submit", (event) => {
      event.preventDefault();
      ask("remove_person", { id, typed: typed.value });
    });
    return h("details", {}, h("summary", { "aria-label": t("Remove: {name}", { name: who }) }, t("Remove")),
      h("p.at-small", {}, t("Their conversations, ratings and versions are erased at once, without a way back.")), confirm);
  }

  return {
    element,
    draw(people) {
      element.hidden = !people;
      const state = JSON.stringify(people);
      if (!people || state === drawn) return; // what is half typed stays
      drawn = state;
      redrawn(element, () => list.replaceChildren(...people.map(row)));
    },
  };
}
