// The list of conversations: new, open, rename, delete with undo, search, older ones. A column on a wide screen, a
// drawer on a narrow one; a closed drawer is hidden, so that Tab does not walk through it.

import { h, iconButton, icon, on, tell, toast } from "./dom.js";
import { said, t } from "./words.js";

const SEARCH_AFTER_MS = 250;
const MORE = 200; // conversations at a time

export function mount({ element, trigger, props, watch }) {
  let current = null;
  let renaming = null;
  let timer = 0;
  let length = 0; // how many are to be listed, once somebody has asked for more than come by themselves
  let listed = { conversations: [], query: "", more: false };
  let continued = null; // where a longer list that was asked for begins to be new
  const deleting = new Map(); // id -> title, until the list comes back without it
  const search = h("input", {
    type: "search", placeholder: t("Search"), "aria-label": t("Search conversations"),
    oninput: () => {
      clearTimeout(timer);
      length = 0;
      timer = setTimeout(refresh, SEARCH_AFTER_MS);
    },
  });
  const list = h("ul.at-list", { "aria-label": t("Conversations") });
  const drawer = h("nav.at-sidebar", { "aria-label": t("Conversations"), id: "at-sidebar" },
    h("div.at-brand", {}, h("span.at-mark", { "aria-hidden": "true" }), h("strong", {}, "Attune"),
      h("span.at-spacer"), iconButton("close", t("Close the list"), () => setOpen(false), { class: "at-tool at-drawer-only" })),
    h("button.at-new", { type: "button", onclick: () => go("new", {}) }, icon("plus"), h("span", {}, t("New chat"))),
    h("label.at-search", {}, icon("search"), search),
    list);
  const opener = iconButton("menu", t("Open the list"), () => setOpen(true), { class: "at-tool at-opener", "aria-controls": "at-sidebar" });
  const shade = h("div.at-shade", { onclick: () => setOpen(false) });
  element.replaceChildren(opener, shade, drawer);
  drawer.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("at-drawer-open")) setOpen(false);
  });

  function setOpen(open) {
    document.body.classList.toggle("at-drawer-open", open);
    (open ? search : opener).focus();
  }

  function go(event, detail) {
    document.body.classList.remove("at-drawer-open");
    tell("show-tab", { name: "chat" });
    trigger(event, detail);
  }

  function refresh() {
    trigger("search", { query: search.value, length });
  }

  function showMore() {
    continued = listed.conversations.length;
    length = continued + MORE;
    refresh();
  }

  function draw() {
    const { conversations, query, more } = listed;
    if (!conversations.length) {
      list.replaceChildren(h("li.at-nothing", {}, query ? t("Nothing found.") : t("No conversations yet.")));
      return;
    }
    list.replaceChildren(...conversations.map(entry));
    if (more) list.append(h("li.at-older", {}, h("button.at-link", { type: "button", onclick: showMore }, t("Show more"))));
  }

  function entry(conversation) {
    const title = conversation.title || t("New chat");
    if (renaming === conversation.id) return renameForm(conversation);
    return h("li", { class: conversation.id === current ? "at-current" : null },
      h("button.at-title", {
        type: "button", title, "aria-current": conversation.id === current ? "page" : null,
        onclick: () => go("open", { conversation: conversation.id }),
      }, title),
      iconButton("pencil", t("Rename {title}", { title }), () => { renaming = conversation.id; draw(); list.querySelector("input")?.select(); }),
      iconButton("trash", t("Delete {title}", { title }), () => remove(conversation, title)));
  }

  function renameForm(conversation) {
    const input = h("input", { value: conversation.title, "aria-label": t("New title"), maxlength: 200 });
    const end = (keep) => {
      if (renaming !== conversation.id) return;
      renaming = null;
      const title = input.value.trim();
      if (keep && title && title !== conversation.title) {
        conversation.title = title;
        trigger("rename", { conversation: conversation.id, title });
      }
      draw();
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) end(true);
      if (event.key === "Escape") end(false);
    });
    input.addEventListener("blur", () => end(true));
    return h("li.at-renaming", {}, input);
  }

  function remove(conversation, title) {
    deleting.set(conversation.id, title);
    trigger("delete", { conversation: conversation.id, current });
  }

  /** A list has come from the server. One that does not hold all (only what was searched for, only the newest) says
   * nothing of what is gone but by its name. */
  function update() {
    const { conversations = [], query = "", more = false, asked = false, gone, error } = props.value ?? {};
    if (error) toast(said(error), { kind: "error" });
    for (const [id, title] of deleting) {
      if (id !== gone && (query || more || conversations.some((conversation) => conversation.id === id))) continue;
      deleting.delete(id);
      toast(t("“{title}” deleted. Its ratings no longer count.", { title }), {
        seconds: 10,
        action: { label: t("Undo"), run: () => trigger("restore", { conversation: id }) },
      });
    }
    // One that comes along with a rename or the end of a turn is the newest of all, whatever is shown here.
    if (!asked && (search.value.trim() || length)) return refresh();
    listed = { conversations, query, more };
    const reading = list.contains(document.activeElement); // and not in the search box by now, say
    draw();
    if (asked && continued !== null) {
      if (reading) list.children[continued]?.querySelector("button")?.focus();
      continued = null;
    }
  }

  on("conversations-changed", refresh);
  on("opened", ({ id }) => {
    if (id === current) return;
    current = id;
    // The address remembers the conversation: a reload comes back to it.
    history.replaceState(null, "", id ? `#${id}` : location.pathname + location.search);
    draw();
    // One that was made just now is not in the list yet: it is there from its first word on, not from its last.
    if (id && !search.value && !listed.conversations.some((conversation) => conversation.id === id)) refresh();
  });
  watch("value", update);
  update();
}
