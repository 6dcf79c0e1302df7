// What was learnt, in words, and the versions that learnt it.

import { h } from "./dom.js";
import { said, t, told, when } from "./words.js";

const STATUS = { accepted: "ready", rejected: "not better", candidate: "being made", unloadable: "does not load here" };
const TONES = { rejected: "bad", unloadable: "bad" };

/** Statements of the version that answers; where the base answers, of the last one that had been taught something. Each
 * can be switched off, and what is off on again. */
export function learntList({ version, live, statements, off }, act) {
  const rows = [...statements.map((one) => statementRow(one, act)), ...off.map((one) => offRow(one, act))];
  const list = rows.length > 0 && [
    h("ul.at-rows", { "aria-label": t("What I have learnt about you") }, rows),
    h("p.at-small", {}, t("What you switch off counts for nothing in the next update, and at once in scores and in what I ask you to compare. Until then the version that answers you writes as it was taught. Edits and best-rated replies are imitated as they are.")),
  ];
  if (!version) {
    return [h("p", {}, t("Nothing yet. After the first update that proves itself, it says here in words what I took from your ratings, and how sure I am.")), ...(list || [])];
  }
  const about = live
    ? t("Version {number} answers you, and it was taught this:", { number: version })
    : t("The base model answers now, so nothing of this is used. Version {number} had been taught:", { number: version });
  return [h("p.at-small", {}, statements.length ? about : t("The report of version {number} has nothing to say in words.", { number: version })), ...(list || [])];
}

function statementRow(statement, act) {
  const { feature, enabled, phrase, probability, ratings, from } = statement;
  if (typeof probability !== "number") return h("li", {}, h("span.at-grow", {}, said(statement.text)));
  const percent = Math.min(99, Math.floor(100 * probability));
  const sure = ratings === 1 ? t("{percent} % sure, from 1 rating", { percent }) : t("{percent} % sure, from {ratings} ratings", { percent, ratings });
  return h("li", { "data-learnt": feature }, feature && onOff(feature, phrase, enabled, act),
    h("div.at-grow", {}, h("span.at-phrase", { class: enabled ? "at-phrase" : "at-phrase at-off" }, said(phrase)),
      h("p", {}, sure, !enabled && t(": switched off")),
      from.length > 0 && h("details", {}, h("summary", {}, t("From which ratings")), h("ul.at-from", {}, from.map((one) =>
        h("li", {}, h("span", {}, told(one.said)), h("p", {}, t("On: {about}", { about: one.about }))))))),
    h("div.at-sure", { "aria-hidden": "true" }, h("div", { style: `width:${percent}%` })));
}

/** What is off and was not learnt again since. */
function offRow({ feature, phrase }, act) {
  return h("li", { "data-learnt": feature }, onOff(feature, phrase, false, act),
    h("div.at-grow", {}, h("span.at-phrase.at-off", {}, said(phrase)), h("p", {}, t("Switched off; nothing of it is learnt."))));
}

function onOff(feature, phrase, enabled, act) {
  const box = h("input", {
    type: "checkbox", checked: enabled, "aria-label": t("Let this count: {what}", { what: said(phrase) }),
    onchange: () => act("PUT", `/v1/profile/learnt/${feature}`, { enabled: box.checked },
      box.checked ? t("It counts again from the next update on.") : t("Switched off. The next update learns without it.")),
  });
  return box;
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
