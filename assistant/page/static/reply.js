// One message on the page: a person's, or a reply with everything one can do about it.

import { copyText, h, iconButton } from "./dom.js";
import { makeFeedback } from "./feedback.js";
import { decorateCode } from "./reply_text.js";
import { updateHtml } from "./safe.js";
import { t } from "./words.js";

const ENDINGS = {
  cancelled: "You stopped this reply.",
  length: "Cut off at the reply length in Settings.",
  interrupted: "This reply was interrupted.",
};

/** `actions`: sayAgain(view, text), regenerate(view), show(id), refresh(view). Returns {element, update(view)}. */
export function makeMessage(view, actions) {
  return view.role === "user" ? makeQuestion(view, actions) : makeReply(view, actions);
}

function makeQuestion(view, actions) {
  const text = h("div.at-question-text");
  const tools = h("div.at-tools", { role: "group", "aria-label": t("About this message") });
  const form = h("form.at-form", { hidden: true });
  const element = h("article.at-question", { "data-id": view.id, "aria-label": t("You") }, text, form, tools);
  const edit = makeEditor(form, t("Edit your message"), t("Send again"), (changed) => actions.sayAgain(view, changed));

  function update(now) {
    view = now;
    text.textContent = now.text;
    tools.replaceChildren(
      ...variantTools(now, actions),
      copyButton(() => view.text),
      iconButton("pencil", t("Edit message"), (event) => edit.open(view.text, event.currentTarget)));
  }

  update(view);
  return { element, update };
}

function makeReply(view, actions) {
  const body = h("div.at-reply-text");
  const original = h("details.at-original", { hidden: true }, h("summary", {}, t("Edited by you. Show original")), h("div"));
  const ending = h("p.at-ending", { hidden: true });
  const variants = h("span.at-variants-slot");
  const version = h("span.at-version", { "data-testid": "version" });
  const came = view.state === "writing" ? performance.now() : null; // an older one may have been read long before
  const feedback = makeFeedback(view, {
    onEdited: () => actions.refresh(view),
    seenFor: () => (came === null ? null : (performance.now() - came) / 1000),
  });
  const form = h("form.at-form", { hidden: true });
  const edit = makeEditor(form, t("Edit the reply"), t("Save edit"), (text) => feedback.change("edit", text));
  const again = iconButton("redo", t("Regenerate"), () => actions.regenerate(view));
  const undoEdit = h("button.at-link", { type: "button", onclick: () => feedback.change("edit", null) }, t("Remove edit"));
  const rating = [
    iconButton("pencil", t("Edit reply"), (event) => edit.open(view.edit?.text ?? view.text, event.currentTarget)),
    h("span.at-divider", { "aria-hidden": "true" }),
    ...feedback.tools,
  ];
  const tools = h("div.at-tools", { role: "group", "aria-label": t("About this reply") },
    variants,
    copyButton(() => view.edit?.text ?? view.text),
    again,
    rating,
    version);
  const element = h("article.at-reply", { "data-id": view.id, "aria-label": t("Reply") },
    body, original, ending, form, tools, feedback.form, feedback.state);

  function update(now) {
    Object.assign(view, now, { feedback: view.feedback });
    const writing = now.state === "writing";
    element.classList.toggle("at-writing", writing);
    element.setAttribute("aria-busy", String(writing));
    updateHtml(body, now.edit?.html ?? now.html, decorateCode);
    original.hidden = !now.edit;
    original.lastChild.replaceChildren();
    if (now.edit) {
      updateHtml(original.lastChild, now.html, decorateCode);
      original.lastChild.append(undoEdit);
    }
    ending.hidden = !(now.state in ENDINGS) || Boolean(now.edit);
    ending.textContent = now.state in ENDINGS ? t(ENDINGS[now.state]) : "";
    tools.hidden = writing;
    for (const tool of rating) tool.hidden = !now.text; // there is nothing to judge in an empty one
    variants.replaceChildren(...variantTools(now, actions));
    version.textContent = now.version ? t("Version {number}", { number: now.version }) : t("Base");
    version.title = now.version
      ? t("Written by version {number} of your assistant", { number: now.version })
      : t("Written by the base model, before anything was learnt");
    again.disabled = writing;
    if (!writing) feedback.replace(now.feedback ?? {});
  }

  update(view);
  return { element, update };
}

/** ‹ 1/2 › between the messages that stand in the same place. */
function variantTools(view, actions) {
  const at = view.variants.indexOf(view.id);
  if (view.variants.length < 2) return [];
  const step = (by) => () => actions.show(view.variants[at + by]);
  return [h("span.at-variants", { role: "group", "aria-label": t("Variants") },
    iconButton("left", t("Previous variant"), step(-1), { disabled: at <= 0 }),
    h("span", { role: "img", "aria-label": t("Variant {number} of {all}", { number: at + 1, all: view.variants.length }) }, `${at + 1}/${view.variants.length}`),
    iconButton("right", t("Next variant"), step(1), { disabled: at + 1 >= view.variants.length }))];
}

function makeEditor(form, label, saveLabel, save) {
  const box = h("textarea", { "aria-label": label, rows: 3 });
  let opener = null;
  let before = "";
  form.append(box, h("div.at-form-row", {},
    h("button.at-primary", { type: "submit" }, saveLabel),
    h("button", { type: "button", onclick: close }, t("Cancel"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value.trim();
    close();
    if (text && text !== before.trim()) save(text);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });

  function close() {
    form.hidden = true;
    opener?.focus();
  }

  return {
    open(text, from) {
      opener = from;
      before = text;
      form.hidden = false;
      box.value = text;
      box.style.height = `${Math.min(Math.max(box.scrollHeight + 4, 96), 420)}px`;
      box.focus();
    },
  };
}

function copyButton(text) {
  return iconButton("copy", t("Copy"), (event) => copyText(text(), event.currentTarget));
}
