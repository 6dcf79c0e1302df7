// The second lock on a reply's HTML (the first is assistant/page/markdown.py): only what is on these lists
// gets into the page. Parsing happens in a document of its own, where nothing loads and nothing runs.

const ELEMENTS = new Set(
  ("p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s del a table thead tbody tr th td span div")
    .split(" "),
);
// Formulas as assistant/page/maths.py writes them: no link, no annotation, no style gets in.
const MATHS = new Set(
  ("math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mmultiscripts " +
    "mprescripts none mtable mtr mtd mstyle mpadded mphantom menclose").split(" "),
);
const MATHS_NAMESPACE = "http://www.w3.org/1998/Math/MathML";
const MATHS_ATTRIBUTES = new Set(
  ("display mathvariant stretchy fence form separator largeop movablelimits lspace rspace width height depth " +
    "linethickness columnalign rowspacing columnspacing displaystyle scriptlevel accent accentunder notation " +
    "minsize maxsize symmetric").split(" "),
);
const PLAIN = /^[\w .%+-]{0,40}$/;
const LINKS = /^(https?:|mailto:)/i;
const ATTRIBUTES = {
  a: { href: LINKS, target: /^_blank$/, rel: /^[a-z ]+$/ },
  ol: { start: /^\d{1,9}$/ },
  pre: { "data-language": /^[^<>"]{0,30}$/ },
  span: { class: /^[\w -]{0,40}$/ },
  code: { class: /^[\w -]{0,60}$/ },
  th: { style: /^text-align:(left|right|center)$/ },
  td: { style: /^text-align:(left|right|center)$/ },
};

/** A fragment of what in `html` is allowed; the text of everything else is kept as text. */
export function safeFragment(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const fragment = document.createDocumentFragment();
  for (const child of parsed.body.childNodes) copy(child, fragment);
  return fragment;
}

function copy(node, into) {
  if (node.nodeType === Node.TEXT_NODE) {
    into.append(node.data);
    return;
  }
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  const name = node.localName;
  const isMaths = node.namespaceURI === MATHS_NAMESPACE;
  if (!(isMaths ? MATHS : ELEMENTS).has(name)) {
    into.append(node.textContent);
    return;
  }
  const clean = isMaths ? document.createElementNS(MATHS_NAMESPACE, name) : document.createElement(name);
  const allowed = ATTRIBUTES[name] ?? {};
  for (const { name: attribute, value } of node.attributes) {
    const fine = isMaths ? MATHS_ATTRIBUTES.has(attribute) && PLAIN.test(value.trim()) : allowed[attribute]?.test(value.trim());
    if (fine) clean.setAttribute(attribute, value.trim());
  }
  for (const child of node.childNodes) copy(child, clean);
  into.append(clean);
}

/** Put `html` into `element`, touching only the blocks that changed: a streamed reply grows at its end. */
export function updateHtml(element, html, decorate) {
  const fresh = [...safeFragment(html).childNodes];
  const old = [...element.childNodes];
  let same = 0;
  while (same < old.length && same < fresh.length && old[same].source === sourceOf(fresh[same])) same += 1;
  for (const node of old.slice(same)) node.remove();
  for (const node of fresh.slice(same)) {
    const source = sourceOf(node);
    element.append(node);
    node.source = source;
    decorate?.(node);
  }
}

function sourceOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.outerHTML : node.data;
}
