// The Profile tab, in sections of which one is shown: learning now and what was learnt, plots, versions, ratings and
// what became of them, taking it all along. What it does goes through the HTTP interface; then it asks for a fresh view.

import { api, card, h, on, redrawn, toast } from "./dom.js";
import { makePlots } from "./plots.js";
import { makeData } from "./profile_data.js";
import { learntList, versionRow } from "./profile_learnt.js";
import { statusWords } from "./top.js";
import { said, t, told, when } from "./words.js";

const KINDS = { thumb: "thumbs", stars: "star ratings", comment: "comments", edit: "edits", ranking: "comparisons" };
const CODES = { waiting: "waiting", used: "used", held_out: "held out", left_out: "left out", superseded: "replaced", retracted: "taken back" };
const MORE_RATINGS = 50; // at a time
const SECTIONS = { overview: "Overview", progress: "Progress", versions: "Versions", ratings: "Ratings", data: "Your data" };

export function mount({ element, trigger, props, watch }) {
  const learning = makeLearning(act);
  const counts = h("div.at-counts"), quality = h("ul.at-rows");
  const learnt = h("div"), plots = h("div.at-plots"), versions = h("ul.at-rows"), ratings = h("ul.at-rows");
  const older = h("button", { type: "button", onclick: showMore, hidden: true }, t("Show more"));
  let ratingsShown = 0; // once somebody has asked for more than come by themselves
  let continued = null; // where a longer list that was asked for begins to be new
  const panes = {
    overview: [learning.element, card("What I have learnt about you", learnt), card("Your feedback", counts, quality)],
    progress: [card("Progress", plots)],
    versions: [card("Versions", h("p.at-small", {}, t("Each update makes a version. It goes live only when it is measurably better for you.")), versions)],
    ratings: [card("What happened to my ratings", ratings, older)],
    data: [makeData(act)],
  };
  const sections = makeSections(panes);
  element.replaceChildren(h("div.at-sheet.at-profile", { id: "at-panel-profile", role: "tabpanel", "aria-labelledby": "at-tab-profile" },
    h("h1", {}, t("Profile")), sections));

  /** Do one thing over HTTP, say how it went, and read everything again. */
  async function act(method, path, body, done) {
    try {
      const answer = await api(method, path, body);
      if (done) toast(typeof done === "function" ? done(answer) : done);
      return answer;
    } catch (error) {
      toast(error.message, { kind: "error", seconds: 10 });
      return null;
    } finally {
      reload();
    }
  }

  function reload() {
    trigger("reload", { ratings: ratingsShown });
  }

  function showMore() {
    continued = ratings.children.length;
    ratingsShown = continued + MORE_RATINGS;
    reload();
  }

  /** To the first of the ratings that were asked for: to its row, since its button takes back at once. */
  function goOn() {
    const row = ratings.children[continued];
    continued = null;
    row.setAttribute("tabindex", "-1");
    row.focus();
  }

  function draw() {
    const view = props.value;
    if (!view) return;
    learning.draw(view.status, view.last_run);
    counts.replaceChildren(...view.counts.map(({ kind, count }) =>
      h("div.at-count", { "data-kind": kind }, h("strong", {}, String(count)), h("span", {}, t(KINDS[kind])))));
    quality.replaceChildren(...view.quality.map(({ code, count, text }) =>
      h("li", { "data-quality": code }, h("span.at-grow", {}, said(text)), h("strong", {}, String(count)))));
    quality.hidden = !view.quality.length;
    learnt.replaceChildren(...learntList(view.learnt, act));
    plots.replaceChildren(...makePlots(view.plots));
    versions.replaceChildren(...view.versions.map((version) => versionRow(version, act)));
    ratings.replaceChildren(...(view.ratings.length
      ? view.ratings.map((rating) => ratingRow(rating, act))
      : [h("li", {}, t("Nothing rated yet. Every reply has thumbs, stars, comment and edit under it."))]));
    older.hidden = !view.more_ratings;
  }

  let known = "";
  let shown = false;
  on("tab", ({ name }) => {
    shown = name === "profile";
    if (shown) reload();
  });
  on("status", (status) => {
    learning.draw(status, props.value?.last_run);
    const key = JSON.stringify([status.version, status.run, status.feedback]);
    // Progress alone redraws the bar; a new version, run or rating reads the lists again.
    if (key !== known && shown) reload();
    known = key;
  });
  watch("value", () => {
    const reading = document.activeElement === older;
    redrawn(element, draw);
    if (reading && continued !== null && ratings.children.length > continued) goOn();
  });
  draw();
}

/** Tabs within the tab: a column of cards as long as all of them together is not read. */
function makeSections(panes) {
  const names = Object.keys(panes);
  const bodies = Object.fromEntries(names.map((name) => [name, h("div.at-stack", {
    id: `at-section-${name}`, role: "tabpanel", "aria-labelledby": `at-choose-${name}`,
  }, panes[name])]));
  const tabs = names.map((name, i) => h("button", {
    type: "button", role: "tab", id: `at-choose-${name}`, "aria-controls": `at-section-${name}`, onclick: () => show(name),
    onkeydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = (i + step + names.length) % names.length;
      tabs[next].focus();
      show(names[next]);
    },
  }, t(SECTIONS[name])));
  function show(chosen) {
    names.forEach((name, i) => {
      bodies[name].hidden = name !== chosen;
      tabs[i].setAttribute("aria-selected", String(name === chosen));
      tabs[i].tabIndex = name === chosen ? 0 : -1;
    });
  }
  show(names[0]);
  return h("div.at-stack", {}, h("div.at-sections", { role: "tablist", "aria-label": t("Parts of the profile") }, tabs), Object.values(bodies));
}

function makeLearning(act) {
  let status = null;
  const words = h("p", { "data-testid": "learning-words" });
  const fill = h("div");
  const bar = h("div.at-bar", { role: "progressbar", "aria-label": t("Progress of learning"), "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const last = h("div.at-last", { "data-testid": "last-update" });
  const now = h("button.at-primary", { type: "button", onclick: () => act("POST", "/v1/learner/run", {}, t("Learning starts in a moment.")) }, t("Learn now"));
  const pause = h("button", { type: "button", onclick: () => act("POST", `/v1/learner/${status.paused ? "resume" : "pause"}`, {}) }, t("Pause"));
  const cancel = h("button", { type: "button", onclick: () => act("POST", `/v1/learner/runs/${status.run}/cancel`, {}, t("Cancelled.")) }, t("Cancel"));
  const element = card("Learning", words, bar, h("div.at-inline", {}, now, pause, cancel), last);
  let drawn = null;
  return {
    element,
    draw(latest, run) {
      status = latest;
      const busy = Boolean(status.run);
      words.textContent = statusWords(status);
      bar.hidden = !busy;
      bar.setAttribute("aria-valuenow", String(Math.round(status.progress * 100)));
      fill.style.width = `${status.progress * 100}%`;
      now.disabled = busy || !status.feedback;
      now.title = status.feedback ? "" : t("There is nothing to learn from yet");
      cancel.hidden = !busy;
      pause.textContent = status.paused ? t("Resume") : t("Pause");
      if (run === drawn) return;
      drawn = run;
      last.replaceChildren(...lastUpdate(run));
    },
  };
}

function lastUpdate(run) {
  if (!run) return [];
  return [
    h("p", {}, h("strong", {}, t("Last update, {when}", { when: when(run.ended) })), h("span.at-lead", { "data-testid": "verdict" }, told(run.verdict))),
    run.story.length > 0 && h("details", {}, h("summary", {}, t("What it did")), h("ol.at-story", {}, run.story.map((one) => h("li", {}, told(one)))), exactly(run)),
  ].filter(Boolean);
}

/** The learner's own words, for who wants to know precisely. */
function exactly({ reason, verdict }) {
  return reason && reason !== verdict.say && h("p.at-small", {}, t("Exactly: {reason}", { reason: said(reason) }));
}

function ratingRow(rating, act) {
  const what = told(rating.said);
  const tone = { used: "good" }[rating.code];
  return h("li", { "data-feedback": rating.id },
    h("div.at-grow", {}, h("span", {}, what), h("p", {}, t("On: {about}", { about: rating.about })), h("p", {}, said(rating.text))),
    h("div.at-side", {},
      h("span.at-tag", { "data-tone": tone }, t(CODES[rating.code] ?? rating.code)),
      h("button.at-link", {
        type: "button", "aria-label": t("Take back: {what}", { what }),
        onclick: () => act("DELETE", `/v1/feedback/${rating.id}`, undefined, t("Taken back. It teaches nothing from now on.")),
      }, t("Take back"))));
}
