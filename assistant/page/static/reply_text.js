// What a reply's text gets on the page beyond its HTML.

import { copyText, h, iconButton } from "./dom.js";
import { t } from "./words.js";

/** Code blocks get their language and a copy button. */
export function decorateCode(node) {
  const blocks = node.localName === "pre" ? [node] : node.querySelectorAll?.("pre") ?? [];
  for (const pre of blocks) {
    const code = pre.querySelector("code");
    const head = h("div.at-code-head", {}, h("span", {}, pre.dataset.language || t("code")),
      iconButton("copy", t("Copy code"), (event) => copyText(code.textContent, event.currentTarget)));
    code.tabIndex = 0; // a wide block is scrolled with the keyboard too
    pre.prepend(head);
  }
  if (node.localName === "table") node.tabIndex = 0; // so is a wide table
}
