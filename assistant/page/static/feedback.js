// What a person says about a reply: thumbs, stars, a comment, an edit. Everything is sent by message id and
// shown as saved only when the server has answered that it is in the database.

import { announce, api, h, icon, iconButton, on, tell } from "./dom.js";
import { t } from "./words.js";

const STAR_NAMES = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"];

let explained = false; // the first rating on a page says what will happen with it, and when
let learner = null; // what the page knows of the learner
on("status", (status) => { learner = status; });

/** What becomes of a rating, and when. */
function whatHappens() {
  if (!learner) return t("I learn from it at the next update.");
  if (learner.state === "off") return t("Learning is switched off in Settings, so it is only kept.");
  if (learner.state === "paused") return t("Learning is paused, so it waits until you resume it in Profile.");
  if (learner.state === "away") return t("The learner is not running, so it waits until it does.");
  if (learner.state === "running") return t("An update is running; the next one learns from it.");
  const left = Math.max(0, learner.learn_after - learner.new - 1);
  const start = left
    ? t("After {left} more and {minutes} quiet minutes I learn from them by myself", { left, minutes: learner.quiet_minutes })
    : t("After {minutes} quiet minutes I learn from them by myself", { minutes: learner.quiet_minutes });
  return t("{start}; what then proves better for you goes live. Profile shows it all.", { start });
}

/** The row of feedback under one reply. `view` is the message's view and is kept up to date in place;
 * `onEdited()` is called when an edit was saved or taken back; `seenFor()` says for how many seconds the reply
 * has been shown, null where this page did not see it come. */
export function makeFeedback(view, { onEdited, seenFor }) {
  let queue = Promise.resolve(); // one request after the other: the last click is the one that stands
  let waiting = 0;
  let saved = { ...view.feedback }; // what the server is known to have: kind -> {id, value}
  const state = h("span.at-saved", { role: "status", "data-testid": "save-state" });
  const up = thumb("up", t("Good reply"));
  const down = thumb("down", t("Bad reply"));
  const stars = makeStars((value) => give("stars", value));
  const commentButton = iconButton("comment", t("Comment"), () => toggleComment(), { "aria-expanded": "false" });
  const commentText = h("textarea", { rows: 2, "aria-label": t("Your comment"), placeholder: t("What was good or bad about it?") });
  const commentForm = h("form.at-form", { hidden: true, onsubmit: saveComment }, commentText,
    h("div.at-form-row", {},
      h("button.at-primary", { type: "submit" }, t("Save comment")),
      h("button", { type: "button", onclick: () => toggleComment(false) }, t("Cancel"))));

  function thumb(value, label) {
    return iconButton(value, label, () => give("thumb", value), { "aria-pressed": "false" });
  }

  /** Click again on what is chosen takes it back. */
  function give(kind, value) {
    const same = view.feedback[kind]?.value === value && (kind === "thumb" || kind === "stars");
    return change(kind, same ? null : value);
  }

  function change(kind, value) {
    if (value === null) delete view.feedback[kind];
    else view.feedback[kind] = { value };
    draw();
    waiting += 1;
    show("saving", t("Saving…"));
    queue = queue.then(() => store(kind, value));
    return queue;
  }

  /** Send one change; on failure what is shown goes back to what the server is known to have. */
  async function store(kind, value) {
    try {
      if (value !== null) {
        const answer = await api("POST", "/v1/feedback", { message_id: view.id, kind, value, seen_s: seenFor() });
        saved[kind] = { id: answer.id, value };
      } else if (saved[kind]) {
        await api("DELETE", `/v1/feedback/${saved[kind].id}`);
        delete saved[kind];
      }
    } catch (error) {
      waiting -= 1;
      if (saved[kind]) view.feedback[kind] = saved[kind];
      else delete view.feedback[kind];
      draw();
      show("failed", t("Not saved: {why}", { why: error.message }), () => change(kind, value));
      return false;
    }
    waiting -= 1;
    if (!waiting) show("saved", value === null ? t("Taken back") : explained ? t("Saved") : t("Saved. {what}", { what: whatHappens() }));
    explained = true;
    tell("feedback", { kind, message: view.id });
    if (kind === "edit") onEdited();
    return true;
  }

  function show(name, text, again) {
    state.dataset.state = name;
    const words = h("span", {}, text);
    state.replaceChildren(name === "saved" ? icon("check") : "", words);
    if (again) words.append(" ", h("button.at-link", { type: "button", onclick: again }, t("Try again")));
    if (name === "saved") announce(text);
  }

  function toggleComment(open = commentForm.hidden) {
    commentForm.hidden = !open;
    commentButton.setAttribute("aria-expanded", String(open));
    if (open) {
      commentText.value = view.feedback.comment?.value ?? "";
      commentText.focus();
    } else commentButton.focus();
  }

  function saveComment(event) {
    event.preventDefault();
    const text = commentText.value.trim();
    if (text !== (view.feedback.comment?.value ?? "")) change("comment", text || null);
    toggleComment(false);
  }

  function draw() {
    up.setAttribute("aria-pressed", String(view.feedback.thumb?.value === "up"));
    down.setAttribute("aria-pressed", String(view.feedback.thumb?.value === "down"));
    stars.draw(view.feedback.stars?.value ?? 0);
    commentButton.classList.toggle("at-on", Boolean(view.feedback.comment));
    commentButton.title = view.feedback.comment ? t("Your comment: {text}", { text: view.feedback.comment.value }) : t("Comment");
  }

  draw();
  return {
    tools: [up, down, stars.element, commentButton],
    state,
    form: commentForm,
    change,
    /** The view was read again from the server; what is being saved right now is not overwritten. */
    replace(fresh) {
      if (waiting) return;
      saved = { ...fresh };
      view.feedback = { ...fresh };
      draw();
    },
  };
}

/** Five stars as a radio group: one tab stop, arrows move and choose, a click on the chosen one clears. */
function makeStars(choose) {
  let value = 0;
  const buttons = STAR_NAMES.map((name, index) => h("button.at-star", {
    type: "button", role: "radio", "aria-label": t(name), title: t(name), "aria-checked": "false",
    onclick: () => choose(index + 1), onkeydown: (event) => onKey(event, index),
  }, icon("star")));
  const element = h("div.at-stars", { role: "radiogroup", "aria-label": t("Stars") }, buttons);

  function onKey(event, index) {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (index + step + buttons.length) % buttons.length;
    buttons[next].focus();
    if (value !== next + 1) choose(next + 1);
  }

  return {
    element,
    draw(now) {
      value = now;
      buttons.forEach((button, index) => {
        button.setAttribute("aria-checked", String(index + 1 === now));
        button.classList.toggle("at-on", index < now);
        button.tabIndex = index === (now ? now - 1 : 0) ? 0 : -1;
      });
    },
  };
}
