// The Profile tab: learning now and so far, versions, ratings and what became of them, taking it all along.
// What it does goes through the HTTP interface; then it asks for a fresh view.

import { api, h, on, toast } from "./dom.js";
import { makeData } from "./profile_data.js";

const KINDS = { thumb: "thumbs", stars: "star ratings", comment: "comments", edit: "edits", ranking: "comparisons" };
const STATUS = { accepted: "ready", rejected: "not better", candidate: "being made", unloadable: "does not load here" };
const CODES = { waiting: "waiting", used: "used", held_out: "held out", left_out: "left out", superseded: "replaced", retracted: "taken back" };
const TONES = { used: "good", accepted: "good", promoted: "good", rejected: "bad", failed: "bad", unloadable: "bad" };

export function mount({ element, trigger, props, watch }) {
  const learning = makeLearning(act);
  const sections = { counts: h("div.at-counts"), quality: h("ul.at-rows"), learnt: h("div"), versions: h("ul.at-rows"), ratings: h("ul.at-rows") };
  element.replaceChildren(h("div.at-profile", {},
    h("h1", {}, "Profile"),
    learning.element,
    card("Your feedback", null, sections.counts, sections.quality),
    card("What I have learnt about you", null, sections.learnt),
    card("Versions", "Each update makes a version. It goes live only when it is measurably better for you.", sections.versions),
    card("What happened to my ratings", null, sections.ratings),
    makeData(act)));

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
      trigger("reload", {});
    }
  }

  function draw() {
    const view = props.value;
    if (!view) return;
    learning.draw(view.status, view.last_run);
    sections.counts.replaceChildren(...view.counts.map(({ kind, count }) =>
      h("div.at-count", { "data-kind": kind }, h("strong", {}, String(count)), h("span", {}, KINDS[kind]))));
    sections.quality.replaceChildren(...view.quality.map(({ code, count, text }) =>
      h("li", { "data-quality": code }, h("span.at-grow", {}, text), h("strong", {}, String(count)))));
    sections.learnt.replaceChildren(learntList(view.learnt, view.status));
    sections.versions.replaceChildren(...view.versions.map((version) => versionRow(version, act)));
    sections.ratings.replaceChildren(...(view.ratings.length
      ? view.ratings.map((rating) => ratingRow(rating, act))
      : [h("li", {}, "Nothing rated yet. Every reply has thumbs, stars, comment and edit under it.")]));
  }

  let known = "";
  on("status", (status) => {
    learning.draw(status, props.value?.last_run);
    const key = JSON.stringify([status.version, status.run, status.feedback]);
    // Progress alone redraws the bar; a new version, run or rating reads the lists again.
    if (key !== known && element.offsetParent) trigger("reload", {});
    known = key;
  });
  watch("value", draw);
  draw();
}

function card(title, note, ...children) {
  return h("section.at-card", { "aria-label": title }, h("h2", {}, title), note && h("p.at-small", {}, note), children);
}

function makeLearning(act) {
  let status = null;
  const words = h("p", { "data-testid": "learning-words" });
  const fill = h("div");
  const bar = h("div.at-bar", { role: "progressbar", "aria-label": "Progress of learning", "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  const last = h("p.at-small");
  const now = h("button.at-primary", { type: "button", onclick: () => act("POST", "/v1/learner/run", {}, "Learning starts in a moment.") }, "Learn now");
  const pause = h("button", { type: "button", onclick: () => act("POST", `/v1/learner/${status.paused ? "resume" : "pause"}`, {}) }, "Pause");
  const cancel = h("button", { type: "button", onclick: () => act("POST", `/v1/learner/runs/${status.run}/cancel`, {}, "Cancelled.") }, "Cancel");
  const element = card("Learning", null, words, bar, h("div.at-card-head", {}, now, pause, cancel), last);
  return {
    element,
    draw(latest, run) {
      status = latest;
      const busy = Boolean(status.run);
      words.textContent = status.words;
      bar.hidden = !busy;
      bar.setAttribute("aria-valuenow", String(Math.round(status.progress * 100)));
      fill.style.width = `${status.progress * 100}%`;
      now.disabled = busy || !status.feedback;
      now.title = status.feedback ? "" : "There is nothing to learn from yet";
      cancel.hidden = !busy;
      pause.textContent = status.paused ? "Resume" : "Pause";
      last.hidden = !run;
      if (run) last.textContent = `Last update (${when(run.ended)}): ${run.reason || run.state}`;
    },
  };
}

function learntList(learnt, status) {
  if (!learnt.length) {
    const text = status.version
      ? "This version's report has nothing to say in words."
      : "Nothing yet. After the first update that proves itself, it says here in words what I took from your ratings, and how sure I am.";
    return h("p", {}, text);
  }
  return h("ul.at-rows", {}, learnt.map((item) => h("li", {},
    h("div.at-grow", {}, item.text))));
}

function versionRow(version, act) {
  const name = version.number ? `Version ${version.number}` : "Base";
  const usable = version.status === "accepted" && !version.live;
  const report = version.report.length
    ? h("details", {}, h("summary", {}, "Report"), h("table.at-figures", {}, h("tbody", {},
      version.report.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", {}, row.value))))))
    : null;
  return h("li", { "data-version": version.number },
    h("div.at-grow", {},
      h("span.at-card-head", {}, h("strong", {}, name),
        version.live ? h("span.at-tag", { "data-tone": "good" }, "live") : h("span.at-tag", { "data-tone": TONES[version.status] === "bad" ? "bad" : null }, STATUS[version.status]),
        version.created && h("span.at-small", {}, when(version.created))),
      h("p", {}, version.reason), report),
    usable && h("button", {
      type: "button", "aria-label": `Use ${name === "Base" ? "the base" : name.toLowerCase()}`,
      onclick: () => act("POST", "/v1/profile/rollback", { version: version.number }, `${name} writes from the next reply on.`),
    }, "Use this version"));
}

function ratingRow(rating, act) {
  return h("li", { "data-feedback": rating.id },
    h("div.at-grow", {}, h("span", {}, rating.said), h("p", {}, `On: ${rating.about}`), h("p", {}, rating.text)),
    h("span.at-tag", { "data-tone": TONES[rating.code] }, CODES[rating.code] ?? rating.code),
    h("button.at-link", {
      type: "button", "aria-label": `Take back: ${rating.said}`,
      onclick: () => act("DELETE", `/v1/feedback/${rating.id}`, undefined, "Taken back. It teaches nothing from now on."),
    }, "Take back"));
}

function when(time) {
  return time ? new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
}
