// What the page itself proposes: prompts to begin with, and now and then a comparison.

import { api, h, toast } from "./dom.js";
import { t } from "./words.js";

const EXAMPLES = [
  "Explain what a hash table is to someone who cooks.",
  "Write a short, friendly e-mail that moves a meeting to Friday.",
  "Give me three ideas for a rainy Sunday.",
];

/** The page before the first message; `choose(text)` sends an example. */
export function makeEmpty(choose) {
  return h("div.at-empty", {},
    h("h1", {}, t("What can I do for you?")),
    h("p", {}, t("Rate, correct or compare my replies: that is how I learn to answer the way you like.")),
    h("div.at-examples", {}, EXAMPLES.map((text) => h("button", { type: "button", onclick: () => choose(t(text)) }, t(text)))));
}

/** Below a reply: would you compare two more answers to this? */
export function makeOffer({ compare, dismiss }) {
  async function never() {
    dismiss();
    try {
      await api("PATCH", "/v1/profile/settings", { offer_comparisons: false });
      toast(t("I will not offer it again; Settings can switch it on."));
    } catch (error) {
      toast(error.message, { kind: "error" });
    }
  }
  return h("section.at-offer", { "aria-label": t("An offer") },
    h("p", {}, t("Shall I answer this twice more, for you to say which is better? A comparison teaches me most.")),
    h("div.at-inline", {},
      h("button", { type: "button", onclick: compare }, t("Compare two answers to this")),
      h("button", { type: "button", onclick: dismiss }, t("Not now")),
      h("button.at-link", { type: "button", onclick: never }, t("Do not offer this"))));
}
