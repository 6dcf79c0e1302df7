// Elements, icons, words to the screen reader, and requests to our own HTTP interface.
// Text always goes in as text nodes; HTML only through safe.js.

import { said, t } from "./words.js";

/** An element: h("button.quiet", {onclick, "aria-label": ...}, child, "text", ...). */
export function h(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag || "div");
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const PATHS = {
  plus: "M12 5v14M5 12h14",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "M5 12.5l4.5 4.5L19 7.5",
  redo: "M19 5v5h-5M18.6 10A7 7 0 1 0 19 14.5",
  pencil: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  up: "M7 11v9H4v-9zM7 12l4-8c1.700 0 2.600 1.200 2.300 2.800L12.700 10H18c1.300 0 2.200 1.200 1.900 2.400l-1.500 6c-.2.900-1 1.600-2 1.600H7",
  down: "M17 13V4h3v9zM17 12l-4 8c-1.700 0-2.600-1.200-2.300-2.800l.6-3.200H6c-1.300 0-2.200-1.200-1.900-2.400l1.500-6c.2-.9 1-1.600 2-1.600H17",
  comment: "M4 5h16v11H10l-4 4v-4H4z",
  star: "M12 3.500l2.600 5.500 6 .8-4.400 4.200 1.100 6L12 17.100 6.700 20l1.100-6L3.400 9.800l6-.8z",
  left: "M14.500 6l-6 6 6 6",
  right: "M9.500 6l6 6-6 6",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  versus: "M4 5h6v14H4zM14 5h6v14h-6z",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.200 16.200L20 20",
  latest: "M12 5v14M6 13l6 6 6-6",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("at-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and a name for those who cannot see it (also its tooltip). */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button.at-tool", { type: "button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

// Where our styles hold: Gradio resets everything inside it, and page.css answers there.
const host = () => document.querySelector(".gradio-container") ?? document.body;

let voice = null;

/** Say something to screen readers without moving focus. */
export function announce(text) {
  if (!voice) {
    voice = h("div.at-hidden", { role: "status", "aria-live": "polite" });
    host().append(voice);
  }
  voice.textContent = text;
}

let toasts = null;
const MOST_TOASTS = 2; // an older one makes room: messages must not pile up over what one reads

/** A line that comes and goes; with `action` {label, run} it offers to take something back. */
export function toast(text, { action = null, seconds = 6, kind = "plain" } = {}) {
  if (!toasts) {
    toasts = h("div.at-toasts", { role: "region", "aria-label": t("Messages") });
    host().append(toasts);
  }
  const node = h("div.at-toast", { role: kind === "error" ? "alert" : "status", "data-kind": kind }, h("span", {}, text));
  const gone = () => node.remove();
  if (action) node.append(h("button", { type: "button", onclick: () => { gone(); action.run(); } }, action.label));
  node.append(iconButton("close", t("Close"), gone));
  toasts.append(node);
  while (toasts.children.length > MOST_TOASTS) toasts.firstChild.remove();
  setTimeout(gone, seconds * 1000);
}

/** JSON to and from our own HTTP interface. Throws an Error whose message is meant for the person; `said` is the server's
 * sentence as it came. */
export async function api(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error(t("Attune does not answer. Is it still running?"));
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const sentence = answer?.error?.message ?? "";
    throw Object.assign(new Error(said(sentence) || t("The server answered {status}.", { status: response.status })), { said: sentence });
  }
  return answer;
}

const listeners = new Map();

/** What the panels of the page tell one another: on("opened", f), tell("opened", {...}). */
export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

export function tell(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

/** A titled part of Profile or Settings. */
export function card(title, ...children) {
  return h("section.at-card", { "aria-label": t(title) }, h("h2", {}, t(title)), children);
}

/** Copy `text` and show on `button` that it was done. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https or localhost there is no clipboard interface: the old way through a selection.
    const box = h("textarea.at-hidden", { value: text });
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  }
  announce(t("Copied"));
  const before = [...button.childNodes];
  button.replaceChildren(icon("check"));
  setTimeout(() => button.replaceChildren(...before), 1500);
}

/** Do `redraw` below `root` and leave focus and opened details where they were; where what had focus is gone, the next
 * thing below `root` gets it: a person at the keyboard must not begin at the top again. */
export function redrawn(root, redraw) {
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const wanted = focused && nameOf(focused);
  const before = focused ? focusable(root).indexOf(focused) : -1;
  const opened = new Set([...root.querySelectorAll("details[open]")].map(nameOf));
  redraw();
  for (const details of root.querySelectorAll("details")) if (opened.has(nameOf(details))) details.open = true;
  if (!focused || focused.isConnected) return;
  const now = focusable(root);
  (now.find((node) => nameOf(node) === wanted) ?? now[Math.min(before, now.length - 1)])?.focus();
}

function focusable(root) {
  return [...root.querySelectorAll("button, input, summary, a[href], textarea, select")].filter((node) => !node.disabled && node.offsetParent);
}

/** Which thing it is, in whichever drawing: the row it stands in and what it says. */
function nameOf(node) {
  const row = node.closest("li")?.dataset ?? {};
  const label = node.getAttribute("aria-label") ?? (node.localName === "details" ? node.firstChild : node).textContent;
  return JSON.stringify([node.localName, row, label]);
}
