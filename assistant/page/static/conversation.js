// The conversation: draws the path of messages, takes a streamed turn, follows the end while one reads it.
//
// `value` is a whole conversation and arrives when one is opened; what happens in a turn arrives through the
// small `turn` panel (turn.js), whose every value is complete for its turn: one that is skipped is no loss.

import { announce, h, icon, on, tell, toast } from "./dom.js";
import { makeComparison } from "./comparison.js";
import { makeComposer } from "./composer.js";
import { makeMessage } from "./reply.js";

const EXAMPLES = [
  "Explain what a hash table is to someone who cooks.",
  "Write a short, friendly e-mail that moves a meeting to Friday.",
  "Give me three ideas for a rainy Sunday.",
];
const NEAR_END_PX = 80;

export function mount({ element, trigger, props, watch }) {
  let conversation = { id: null, path: [], title: "" };
  let nodes = new Map(); // message id -> {element, update, view}
  let comparison = null;
  let pending = null; // the turn that was asked for and has not ended: {nonce, ended}
  let following = true;

  const list = h("div.at-messages", { role: "log", "aria-label": "Conversation", "aria-live": "off" });
  const empty = makeEmpty((text) => send(text, false));
  const latest = h("button.at-latest", { type: "button", "aria-label": "Jump to the end", hidden: true, onclick: toEnd }, icon("latest"));
  const scroller = h("div.at-scroll", { tabindex: "-1", onscroll: onScroll }, empty, list);
  const composer = makeComposer({ send, stop });
  element.replaceChildren(h("div.at-chat", {}, scroller, h("div.at-foot", {}, latest, composer.element,
    h("p.at-small", {}, "A small model can be wrong. What you rate, it learns from."))));

  const actions = {
    regenerate: (view) => ask("regenerate", { message: view.id }),
    sayAgain: (view, text) => ask("say_again", { message: view.id, text }),
    refresh: (view) => trigger("refresh", { conversation: conversation.id, message: view.id }),
    show: (id) => trigger("show", { conversation: conversation.id, message: id }),
  };

  function send(text, compare) {
    // An unjudged comparison does not hold one up: the conversation goes on after the first answer.
    const parent = comparison?.first() ?? conversation.path.at(-1) ?? null;
    ask("send", { text, parent, compare });
  }

  /** Start a turn, unless one is being written: a second Enter must not store a second message. */
  function ask(event, detail) {
    if (pending) return;
    pending = { nonce: crypto.getRandomValues(new Uint32Array(2)).join("-"), conversation: conversation.id };
    following = true;
    composer.setBusy(true);
    trigger(event, { ...detail, conversation: conversation.id, nonce: pending.nonce });
  }

  function stop() {
    trigger("stop", { conversation: conversation.id });
  }

  function open(value) {
    if (!value) return;
    conversation = { id: value.id, path: value.path, title: value.title };
    nodes = new Map();
    comparison = null;
    list.replaceChildren();
    draw(value.messages);
    const writing = value.messages.some((view) => view.state === "writing");
    if (!pending || pending.conversation !== value.id) pending = writing ? { nonce: null, conversation: value.id } : null;
    composer.setBusy(Boolean(pending));
    composer.fail("");
    following = true;
    toEnd();
    tell("opened", conversation);
  }

  /** One state of a turn: {nonce, conversation, title, path, messages, busy, error, comparison}. */
  function onTurn(turn) {
    const mine = pending && turn.nonce && pending.nonce === turn.nonce;
    if (turn.error && mine) composer.fail(turn.error);
    else if (turn.error) toast(turn.error, { kind: "error" });
    if (mine && conversation.id === null && turn.conversation) conversation.id = turn.conversation;
    if (turn.conversation === conversation.id && turn.path) {
      if (mine && turn.echo) composer.accepted();
      conversation.path = turn.path;
      conversation.title = turn.title ?? conversation.title;
      if (turn.comparison) showComparison(turn.comparison);
      else if (turn.echo || mine) comparison = null;
      draw(turn.messages);
      tell("opened", conversation);
    }
    if (mine && !turn.busy) {
      pending = null;
      composer.setBusy(false);
      if (!turn.error) announce("The reply is complete.");
    }
    if (following) toEnd();
  }

  function draw(views) {
    for (const view of views) {
      const known = nodes.get(view.id);
      if (known) known.update(view);
      else nodes.set(view.id, makeMessage(view, actions));
    }
    const shown = conversation.path.filter((id) => nodes.has(id)).map((id) => nodes.get(id).element);
    if (comparison) shown.push(comparison.element);
    // Only what is out of place is moved: a moved element would lose focus and selection.
    shown.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
    while (list.children.length > shown.length) list.lastChild.remove();
    empty.hidden = shown.length > 0;
  }

  function showComparison(value) {
    if (comparison?.key !== value.key) {
      comparison = makeComparison(value.key, (winner) => {
        comparison = null;
        actions.show(winner);
      });
    }
    comparison.update(value);
  }

  function onScroll() {
    following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
    latest.hidden = following;
  }

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    latest.hidden = true;
  }

  on("turn", onTurn);
  on("feedback", () => {
    if (following) toEnd(); // the line that says "Saved" must not hide behind the composer
  });
  on("new-version", ({ version }) => {
    list.append(h("p.at-notice", { role: "status" }, `Version ${version} is live: it writes from the next reply on.`));
    if (following) toEnd();
  });
  watch("value", () => open(props.value));
  open(props.value);
}

function makeEmpty(choose) {
  return h("div.at-empty", {},
    h("h1", {}, "What can I do for you?"),
    h("p", {}, "Rate, correct or compare my replies: that is how I learn to answer the way you like."),
    h("div.at-examples", {}, EXAMPLES.map((text) => h("button", { type: "button", onclick: () => choose(text) }, text))));
}
