// Account and API keys. Secrets go through events of the page alone; a new key is shown once and kept nowhere.

import { card, copyText, h, iconButton, redrawn } from "./dom.js";
import { t, when } from "./words.js";

/** `ask(event, detail)` sends one of the page's events; its answer comes through `draw(value)`. */
export function makeAccount(ask) {
  let drawn = "";
  const account = card("Account");
  const keyList = h("ul.at-rows", { "aria-label": t("API keys") });
  const fresh = h("div.at-new-key", { hidden: true });
  const name = h("input", { type: "text", "aria-label": t("Name of the key"), placeholder: t("laptop"), maxlength: 64, required: true });
  const days = h("input", { type: "number", "aria-label": t("Days until it ends (empty: never)"), placeholder: t("days"), min: 1, max: 3650, step: 1 });
  const form = h("form.at-inline", {}, name, days, h("button", { type: "submit" }, t("Make a key")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask("add_key", { name: name.value, days: days.value ? days.valueAsNumber : null });
    form.reset();
  });
  const keys = card("API keys", h("p.at-small", {}, t("For programs that chat or rate in your name.")), keyList, fresh, form);

  function keyRow(key) {
    const used = key.last_used_at ? t("last used {when}", { when: when(key.last_used_at) }) : t("never used");
    const ends = key.expires_at ? t(", until {when}", { when: when(key.expires_at) }) : "";
    return h("li", { "data-key": key.id }, h("div.at-grow", {}, h("strong", {}, key.name), h("p", {}, used + ends)),
      iconButton("trash", t("Revoke: {name}", { name: key.name }), () => ask("revoke_key", { id: key.id })));
  }

  function showKey(key) {
    fresh.hidden = !key;
    if (!key) return;
    const box = h("code", { "data-testid": "new-key", tabindex: "0" }, key);
    fresh.replaceChildren(h("p", {}, t("Copy it now: it is stored only as a hash and cannot be shown again.")),
      h("div.at-inline", {}, box, iconButton("copy", t("Copy"), (event) => copyText(key, event.currentTarget))));
    box.focus();
  }

  return {
    element: h("div.at-stack", {}, account, keys),
    draw(value) {
      keyList.hidden = !value.keys.length;
      redrawn(keys, () => keyList.replaceChildren(...value.keys.map(keyRow)));
      showKey(value.key);
      const state = JSON.stringify([value.account, value.name]);
      if (state === drawn) return; // what is half typed stays
      drawn = state;
      account.replaceChildren(account.firstChild, ...(value.account ? signedIn(value, ask) : alone(ask)));
    },
  };
}

function signedIn({ name }, ask) {
  const signOut = (label, everywhere) => h("form", { method: "post", action: "/logout" },
    everywhere && h("input", { type: "hidden", name: "everywhere", value: "1" }), h("button", { type: "submit" }, t(label)));
  const old = password("Present password", "current-password");
  const form = h("form.at-inline", {}, old);
  return [
    h("p", {}, t("Signed in as {name}.", { name })),
    h("div.at-inline", {}, signOut("Sign out", false), signOut("Sign out everywhere", true)),
    h("details", {}, h("summary", {}, t("Change the password")),
      passwordForm(form, "Change the password", (chosen) => ask("set_password", { old: old.value, password: chosen }))),
  ];
}

function alone(ask) {
  const name = h("input", { type: "text", "aria-label": t("Name"), placeholder: t("Name"), autocomplete: "username", maxlength: 64, required: true });
  const form = h("form.at-inline", {}, name);
  return [
    h("p", {}, t("You use Attune alone on this machine, so nobody has to sign in.")),
    h("details", {}, h("summary", {}, t("Make an account")),
      h("p.at-small", {}, t("Everything here becomes yours. From then on everybody must sign in, and programs need a key. You are then the admin, who adds further people here.")),
      passwordForm(form, "Make an account", (chosen) => ask("make_account", { name: name.value.trim(), password: chosen }))),
  ];
}

function password(label, autocomplete) {
  return h("input", { type: "password", "aria-label": t(label), placeholder: t(label), autocomplete, required: true });
}

/** `form` with a new password twice and a button after what it holds already. */
export function passwordForm(form, label, send) {
  const [first, second] = [password("New password", "new-password"), password("The same again", "new-password")];
  form.append(first, second, h("button", { type: "submit" }, t(label)));
  const check = () => second.setCustomValidity(first.value === second.value ? "" : t("The two passwords differ."));
  for (const box of [first, second]) box.addEventListener("input", check);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(first.value);
    form.reset();
  });
  return form;
}
