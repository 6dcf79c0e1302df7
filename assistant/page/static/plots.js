// Plots as small drawings of our own (SVG): each has a title that says what it means, and its numbers as a table for
// who cannot see it or wants them exactly. Colours come from page.css, so that light and dark need no redraw.

import { h } from "./dom.js";
import { day, t } from "./words.js";

const WIDTH = 560, HEIGHT = 190, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 30;
const percent = (share) => `${Math.round(100 * share)} %`;

/** Every plot there is something for; one line where there is nothing yet. */
export function makePlots({ win_rates: rates, practice, ratings }) {
  const plots = [
    rates.length && winRates(rates),
    practice.length > 1 && curve(practice.map((round) => round.reward), "reward"),
    practice.length > 1 && curve(practice.map((round) => round.kl), "kl"),
    ratings.length && ratingsByDay(ratings),
  ].filter(Boolean);
  return plots.length ? plots : [h("p", {}, t("Nothing to draw yet: rate a few replies first."))];
}

function winRates(rates) {
  const last = rates.at(-1);
  const title = t("Version {number} beats the one before in {percent} of comparisons", { number: last.version, percent: percent(last.rate) });
  const note = t("The line reaches to what is still believable; above 50 % a version is better than the one it replaces.");
  const x = bands(rates.length);
  const y = scale(0, 1);
  const marks = rates.flatMap((rate, i) => [
    line(x(i), y(rate.lower), x(i), y(rate.upper), "at-plot-range"),
    node("circle", { cx: x(i), cy: y(rate.rate), r: 5, class: rate.status === "accepted" ? "at-plot-good" : "at-plot-open" }),
    text(x(i), HEIGHT - 10, String(rate.version), "middle"),
  ]);
  return figure("win-rates", title, note,
    [...axis(y, [0, 0.5, 1], percent), line(LEFT, y(0.5), WIDTH - RIGHT, y(0.5), "at-plot-even"), ...marks],
    [t("Version"), t("Beats the one before"), t("At least")],
    rates.map((rate) => [rate.version, percent(rate.rate), percent(rate.lower)]));
}

const CURVES = {
  reward: {
    up: "In its last practice, replies came closer to what you like",
    flat: "In its last practice, replies came no closer to what you like",
    note: "Each point is one round; 0 is the base model's average, 1 one standard deviation better.",
  },
  kl: {
    up: "It moved away from the base model, as learning needs",
    flat: "It hardly moved from the base model",
    note: "Distance in nats a reply; far away it would begin to write badly, so this is held back.",
  },
};

function curve(values, kind) {
  const { up, flat, note } = CURVES[kind];
  const low = Math.min(0, ...values), high = Math.max(low + 0.5, ...values);
  const x = (i) => LEFT + (i * (WIDTH - LEFT - RIGHT)) / (values.length - 1);
  const y = scale(low, high);
  const points = values.map((value, i) => `${x(i)},${y(value)}`).join(" ");
  const ticks = [low, (low + high) / 2, high];
  const moved = kind === "kl" ? values.at(-1) > 0.1 : values.at(-1) > values[0];
  return figure(kind, t(moved ? up : flat), t(note),
    [...axis(y, ticks, (value) => value.toFixed(1)), node("polyline", { points, class: "at-plot-line" }),
      ...values.map((value, i) => node("circle", { cx: x(i), cy: y(value), r: 3, class: "at-plot-good" })),
      text(LEFT, HEIGHT - 10, t("round {n}", { n: 1 }), "start"), text(WIDTH - RIGHT, HEIGHT - 10, t("round {n}", { n: values.length }), "end")],
    [t("Round"), kind === "kl" ? t("Distance") : t("Reward")],
    values.map((value, i) => [i + 1, value.toFixed(2)]));
}

function ratingsByDay(days) {
  const sum = (key) => days.reduce((total, one) => total + one[key], 0);
  const [good, bad, between] = ["good", "bad", "between"].map(sum);
  const all = good + bad + between;
  const title = t("You liked {good} of {all} rated replies", { good, all });
  const note = t("By day, thumbs and stars: above the line what you liked, below it what you did not.");
  const most = Math.max(1, ...days.map((one) => Math.max(one.good, one.bad)));
  const x = bands(days.length);
  const y = scale(-most, most);
  const width = Math.min(34, (WIDTH - LEFT - RIGHT) / days.length - 3);
  const bars = days.flatMap((one, i) => [
    node("rect", { x: x(i) - width / 2, y: y(one.good), width, height: y(0) - y(one.good), rx: 2, class: "at-plot-good" }),
    node("rect", { x: x(i) - width / 2, y: y(0), width, height: y(-one.bad) - y(0), rx: 2, class: "at-plot-bad" }),
  ]);
  const ends = days.length > 1
    ? [text(x(0), HEIGHT - 10, day(days[0].day), "start"), text(x(days.length - 1), HEIGHT - 10, day(days.at(-1).day), "end")]
    : [text(x(0), HEIGHT - 10, day(days[0].day), "middle")];
  return figure("ratings", title, note,
    [...axis(y, [-most, 0, most], (value) => String(Math.abs(value))), ...bars, ...ends],
    [t("Day"), t("Liked"), t("Disliked"), t("In between")],
    days.map((one) => [day(one.day), one.good, one.bad, one.between]));
}

// --- What all of them are made of ---

function figure(name, title, note, drawing, columns, rows) {
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, drawing);
  const table = h("table.at-figures", {}, h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, String(cell)))))));
  return h("figure.at-plot", { "data-plot": name }, h("figcaption", {}, h("strong", {}, title), h("span.at-small", {}, note)), svg,
    h("details", {}, h("summary", {}, t("Numbers")), table));
}

/** Centres of `count` equal bands along the x axis. */
function bands(count) {
  const width = (WIDTH - LEFT - RIGHT) / count;
  return (i) => LEFT + (i + 0.5) * width;
}

function scale(low, high) {
  return (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
}

function axis(y, ticks, label) {
  return ticks.flatMap((tick) => [line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "at-plot-grid"), text(LEFT - 8, y(tick) + 4, label(tick), "end")]);
}

function line(x1, y1, x2, y2, name) {
  return node("line", { x1, y1, x2, y2, class: name });
}

function text(x, y, content, anchor) {
  return node("text", { x, y, "text-anchor": anchor }, [content]);
}

function node(name, attributes, children = []) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
