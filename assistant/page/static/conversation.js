// The conversation: draws the path of messages, takes a streamed turn, follows the end while one reads it.
//
// `value` is a whole conversation and arrives when one is opened; what happens in a turn arrives through the
// small `turn` panel (turn.js), whose every value is complete for its turn: one that is skipped is no loss.

import { makeComparison } from "./comparison.js";
import { makeComposer } from "./composer.js";
import { announce, api, h, icon, on, tell, toast } from "./dom.js";
import { makeEmpty, makeOffer } from "./invitations.js";
import { makeMessage } from "./reply.js";
import { otherPages } from "./other_pages.js";
import { said, t } from "./words.js";

const NEAR_END_PX = 80;
const LOOK_EVERY_MS = 1000;
const SILENT_MS = 5000; // a turn that says nothing for so long: is the server still there?

export function mount({ element, trigger, props, watch }) {
  let conversation = { id: null, path: [], title: "" };
  let nodes = new Map(); // message id -> {element, update, state}
  let notices = new Map(); // message id (null: none yet) -> line below it that says which version went live
  let comparison = null;
  let offer = null; // a comparison that the assistant proposes below the last reply
  let opened = null; // which opening of a conversation is shown; differs even between two empty chats
  // nonce -> {conversation, opened, text, heard, begun, stopped}: turns asked for here that have not ended
  const own = new Map();
  let following = true;

  const list = h("div.at-messages", { role: "log", "aria-label": t("Conversation"), "aria-live": "off" });
  const empty = makeEmpty((text) => send(text, false));
  const latest = h("button.at-latest", { type: "button", "aria-label": t("Jump to the end"), hidden: true, onclick: toEnd }, icon("latest"));
  const scroller = h("div.at-scroll", { tabindex: "-1", onscroll: onScroll }, empty, list);
  const composer = makeComposer({ send, stop });
  element.replaceChildren(h("div.at-chat", { id: "at-panel-chat", role: "tabpanel", "aria-labelledby": "at-tab-chat" }, scroller, h("div.at-foot", {}, latest, composer.element,
    h("p.at-small", {}, t("A small model can be wrong. What you rate, it learns from.")))));

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
    if (isBusy()) return;
    const nonce = crypto.getRandomValues(new Uint32Array(2)).join("-");
    own.set(nonce, { conversation: conversation.id, opened, text: detail.text, heard: Date.now() });
    following = true;
    offer = null;
    composer.setBusy(true);
    trigger(event, { ...detail, conversation: conversation.id, nonce });
  }

  /** Whether an own turn is one of the conversation that is shown. A new one has no id until its first state:
   * till then it belongs to the empty chat in which it was asked for, and to no other. */
  function isShown(turn) {
    return turn.conversation ? turn.conversation === conversation.id : turn.opened === opened;
  }

  function ownTurn() {
    return [...own.values()].find(isShown);
  }

  function writing() {
    return conversation.path.filter((id) => nodes.get(id)?.state === "writing");
  }

  function isBusy() {
    return Boolean(ownTurn()) || writing().length > 0;
  }

  /** Every second: a reply that is written for another page is read again until it is complete. */
  function look() {
    const turn = ownTurn();
    if (!turn) {
      for (const id of writing()) actions.refresh({ id });
    } else if (Date.now() - turn.heard > SILENT_MS) {
      turn.heard = Date.now();
      api("GET", "/healthz").catch((error) => {
        lose();
        composer.fail(error.message);
      });
    }
  }

  /** No more will be heard of what is being written: its state is what is read the next time it is opened. */
  function lose() {
    own.clear();
    for (const node of nodes.values()) if (node.state === "writing") node.state = null;
    composer.setBusy(false);
  }

  /** A turn that has said nothing yet is stopped with its first state: before, a new conversation has no id, and the
   * server may not have heard of the turn. */
  function stop() {
    const turn = ownTurn();
    if (turn && !turn.begun) turn.stopped = true;
    if (conversation.id) trigger("stop", { conversation: conversation.id });
  }

  function open(value) {
    if (!value || value.opened === opened) return;
    opened = value.opened;
    conversation = { id: value.id, path: value.path, title: value.title };
    nodes = new Map();
    notices = new Map();
    comparison = null;
    offer = null;
    list.replaceChildren();
    if (value.comparison) showComparison(value.comparison);
    draw(value.messages);
    composer.setBusy(isBusy());
    composer.fail("");
    following = true;
    toEnd();
    tell("opened", conversation);
    if (value.error) toast(said(value.error), { kind: "error" });
  }

  /** One state of a turn: {nonce, conversation, title, path, messages, busy, error, comparison}; without a nonce
   * it is a message read again; {failed} where Gradio could not run a turn at all. */
  function onTurn(turn) {
    if (turn.failed) return lose();
    const mine = own.get(turn.nonce);
    const shown = mine ? isShown(mine) : turn.conversation === conversation.id;
    if (mine) {
      mine.heard = Date.now();
      mine.conversation ??= turn.conversation;
      if (!mine.begun && mine.stopped && turn.busy) trigger("stop", { conversation: turn.conversation });
      mine.begun = true;
      if (shown) conversation.id = mine.conversation;
      if (turn.echo) composer.accepted(mine.text);
      if (!turn.busy) {
        own.delete(turn.nonce);
        pages.changed({ conversation: turn.conversation, message: turn.path?.at(-1) });
      }
    }
    if (turn.error && mine && shown) composer.fail(said(turn.error));
    else if (turn.error) toast(said(turn.error), { kind: "error" });
    if (turn.error && !turn.nonce) lose(); // what cannot be read again is not asked for every second
    if (shown && turn.path) {
      conversation.path = turn.path;
      conversation.title = turn.title ?? conversation.title;
      if (turn.comparison) showComparison(turn.comparison);
      else if (turn.echo || mine) comparison = null;
      if (mine && turn.offer) offer = makeOffer({ compare: () => ask("compare", { message: turn.path.at(-1) }), dismiss });
      draw(turn.messages);
      tell("opened", conversation);
    }
    if (mine && shown && !turn.busy && !turn.error) announce(t("The reply is complete."));
    composer.setBusy(isBusy());
    if (following) toEnd();
  }

  function draw(views) {
    for (const view of views) {
      const known = nodes.get(view.id);
      if (known) known.update(view);
      else nodes.set(view.id, makeMessage(view, actions));
      nodes.get(view.id).state = view.state;
    }
    const path = conversation.path.filter((id) => nodes.has(id));
    const shown = [null, ...path].flatMap((id) => [nodes.get(id)?.element, notices.get(id)]).filter(Boolean);
    if (comparison) shown.push(comparison.element);
    else if (offer) shown.push(offer);
    // Only what is out of place is moved: a moved element would lose focus and selection.
    shown.forEach((node, index) => {
      if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
    });
    while (list.children.length > shown.length) list.lastChild.remove();
    empty.hidden = path.length > 0;
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

  function dismiss() {
    offer = null;
    draw([]);
    composer.focus();
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
  const pages = otherPages((change) => {
    // The same conversation went on, or was judged, in another tab of this browser.
    if (change.conversation === conversation.id && !isBusy()) trigger("show", { conversation: conversation.id, message: change.message });
  });
  on("feedback", ({ kind }) => {
    pages.changed({ conversation: conversation.id, message: kind === "ranking" ? null : conversation.path.at(-1) });
    if (following) toEnd(); // the line that says "Saved" must not hide behind the composer
  });
  on("conversations-changed", (now) => {
    // What was open is gone: it could be neither rated nor gone on with.
    if (!now.open) open({ id: null, path: [], title: "", messages: [], opened: Date.now() });
  });
  on("new-version", ({ version }) => {
    const line = h("p.at-notice", { role: "status" }, t("Version {number} is live: it writes from the next reply on.", { number: version }));
    notices.set(conversation.path.at(-1) ?? null, line);
    draw([]);
    if (following) toEnd();
  });
  setInterval(look, LOOK_EVERY_MS);
  watch("value", () => open(props.value));
  open(props.value);
}
