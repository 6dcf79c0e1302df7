// Several tabs of one browser on the same conversation: each hears of what happens in the others.

/** `heard(change)` is called for what another tab has told; returns {changed(change)} to tell it of one's own. */
export function otherPages(heard) {
  if (!("BroadcastChannel" in window)) return { changed() {} };
  const channel = new BroadcastChannel("attune");
  channel.addEventListener("message", ({ data }) => heard(data));
  return { changed: (change) => channel.postMessage(change) };
}
