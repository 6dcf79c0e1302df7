// What was learnt, in words, and the versions that learnt it.

import { h } from "./dom.js";
import { said, t, told, when } from "./words.js";

const STATUS = { accepted: "ready", rejected: "not better", candidate: "being made", unloadable: "does not load here" };
const TONES = { rejected: "bad", unloadable: "bad" };

/** Statements of the version that answers; where the base answers, of the last one that had been taught something. */
export function learntList({ version, live, statements }) {
  if (!version) {
    return [h("p", {}, t("Nothing yet. After the first update that proves itself, it says here in words what I took from your ratings, and how sure I am."))];
  }
  const about = live
    ? t("Version {number} answers you, and it was taught this:", { number: version })
    : t("The base model answers now, so nothing of this is used. Version {number} had been taught:", { number: version });
  if (!statements.length) return [h("p", {}, t("The report of version {number} has nothing to say in words.", { number: version }))];
  return [h("p.at-small", {}, about), h("ul.at-rows", {}, statements.map(statementRow))];
}

function statementRow(statement) {
  const { phrase, probability, ratings, from } = statement;
  if (typeof probability !== "number") return h("li", {}, h("span.at-grow", {}, said(statement.text)));
  const percent = Math.min(99, Math.floor(100 * probability));
  const sure = ratings === 1 ? t("{percent} % sure, from 1 rating", { percent }) : t("{percent} % sure, from {ratings} ratings", { percent, ratings });
  return h("li", {}, h("div.at-grow", {}, h("span.at-phrase", {}, said(phrase)), h("p", {}, sure),
    from.length > 0 && h("details", {}, h("summary", {}, t("From which ratings")), h("ul.at-from", {}, from.map((one) =>
      h("li", {}, h("span", {}, told(one.said)), h("p", {}, t("On: {about}", { about: one.about }))))))),
  h("div.at-sure", { "aria-hidden": "true" }, h("div", { style: `width:${percent}%` })));
}

export function versionRow(version, act) {
  const name = version.number ? t("Version {number}", { number: version.number }) : t("Base");
  const tag = version.live ? h("span.at-tag", { "data-tone": "good" }, t("live")) : h("span.at-tag", { "data-tone": TONES[version.status] }, t(STATUS[version.status]));
  const numbers = version.figures.length > 0 && h("details", {}, h("summary", {}, t("All figures")), h("table.at-figures", {}, h("tbody", {},
    version.figures.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", {}, row.value))))));
  const report = version.story.length > 0 && h("details", {}, h("summary", {}, t("Report")),
    h("ol.at-story", {}, version.story.map((one) => h("li", {}, told(one)))), numbers);
  return h("li", { "data-version": version.number },
    h("div.at-grow", {},
      h("span.at-inline", {}, h("strong", {}, name), tag, version.created && h("span.at-small", {}, when(version.created))),
      h("p", {}, told(version.verdict)), report || numbers),
    version.usable && h("button", {
      type: "button",
      "aria-label": version.number ? t("Use version {number}", { number: version.number }) : t("Use the base"),
      onclick: () => act("POST", "/v1/profile/rollback", { version: version.number }, t("{name} writes from the next reply on.", { name })),
    }, t("Use this version")));
}
