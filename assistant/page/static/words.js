// The page's language. The English text is the key: t("Version {number}", {number: 3}) looks its translation up in
// zh.json and falls back to itself. What other parts of Attune say in whole sentences (why a version was rejected,
// what was wrong with a request) goes through said(), which also finds a sentence that was made from a template.
//
// The language is the same for as long as a page lives: another one is chosen by loading it anew.

const STORED = "attune.language";

export const LANGUAGES = { en: "English", zh: "中文" };
export const language = localStorage.getItem(STORED) === "zh" ? "zh" : "en";
const table = language === "en" ? {} : await read(new URL(`${language}.json`, import.meta.url));
document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";

async function read(url) {
  try {
    return await (await fetch(url)).json();
  } catch {
    return {}; // English is better than an empty page
  }
}

/** `text` in the page's language with its {placeholders} filled. */
export function t(text, values = {}) {
  return filled(table[text] ?? text, values);
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// From the most literal template on, so that "Used in version {n}." is tried before "{what}."
const templates = Object.keys(table).filter((text) => /\{\w+\}/.test(text))
  .map((text) => ({ text, literal: text.replace(/\{\w+\}/g, "").length, pattern: patternOf(text) }))
  .filter(({ literal }) => literal > 3)
  .sort((a, b) => b.literal - a.literal);

function patternOf(text) {
  const escaped = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\{(\w+)\}/g, "(?<$1>[^]+?)")}$`);
}

/** A whole English sentence of the server's in the page's language, as far as the table knows it. */
export function said(sentence) {
  if (!sentence || language === "en") return sentence ?? "";
  if (table[sentence]) return table[sentence];
  for (const { text, pattern } of templates) {
    const found = pattern.exec(sentence);
    if (found) return filled(table[text], Object.fromEntries(Object.entries(found.groups).map(([name, value]) => [name, said(value)])));
  }
  const parts = sentence.split("; ");
  return parts.length > 1 ? parts.map(said).join("；") : sentence;
}

/** A sentence as assistant/page/report.py makes them: {say, with}. */
export function told({ say, with: values }) {
  return Object.keys(values).length ? t(say, values) : said(say);
}

/** Draw the page in another language from now on; what is being written in the composer is kept (composer.js). */
export function speak(chosen) {
  if (!(chosen in LANGUAGES) || chosen === language) return false;
  localStorage.setItem(STORED, chosen);
  location.reload();
  return true;
}

/** A moment as people write it: "22 Nov 2026, 16:20". */
export function when(time) {
  return time ? new Date(time).toLocaleString(language === "zh" ? "zh-CN" : [], { dateStyle: "medium", timeStyle: "short" }) : "";
}

export function day(time) {
  return new Date(time).toLocaleDateString(language === "zh" ? "zh-CN" : [], { day: "numeric", month: "short" });
}
