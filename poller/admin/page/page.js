// Shows a newer page every five seconds, without a jump: it replaces #live, and keeps the focus, the scroll position and
// what is folded. While a person uses the search, everything but its form is replaced.
// A screen reader hears only when the daemon stops to answer, and when it answers again.
// The page works without this script: then the browser loads it again (the noscript element in its head).
"use strict";

const PERIOD_IN_MS = 5000;
const SEARCH = "form[role=search]";
const seen = document.getElementById("seen");
const announced = document.getElementById("announced");
let last = Date.now();
let wasStale = false;

function announce(isStale) {
  if (document.body.classList.toggle("stale", isStale) !== wasStale) {
    wasStale = isStale;
    announced.textContent = isStale ? "The daemon does not answer; the page is old." : "The page is up to date again.";
  }
}

// Replaces the content of `older` with that of `newer`, except for the search form, which both have.
function replaceAround(older, newer) {
  if (older.matches(SEARCH)) return;
  const isKept = (child) => child.matches(SEARCH) || child.querySelector(SEARCH) !== null;
  const kept = [...older.children].find(isKept);
  const left = [...newer.children].find(isKept);
  for (const node of [...older.childNodes]) if (node !== kept) node.remove();
  const nodes = [...newer.childNodes];
  const at = nodes.indexOf(left);
  kept.before(...nodes.slice(0, at));
  kept.after(...nodes.slice(at + 1));
  replaceAround(kept, left);
}

// A name by which the focused element is found again in the newer page.
function nameOf(element) {
  if (element === null || element === document.body) return null;
  const label = element.getAttribute("aria-label");
  if (label) return `[aria-label="${CSS.escape(label)}"]`;
  const href = element.getAttribute("href");
  return href ? `a[href="${CSS.escape(href)}"]` : null;
}

async function update() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PERIOD_IN_MS * 2) });
    if (!answer.ok) throw new Error(String(answer.status));
    const newer = new DOMParser().parseFromString(await answer.text(), "text/html");
    const live = newer.getElementById("live");
    if (live === null) throw new Error("no page");
    const focused = nameOf(document.activeElement);
    for (const older of document.querySelectorAll("#live details")) {
      const same = live.querySelector(`[id="${CSS.escape(older.id)}"]`);
      if (same !== null) same.open = older.open;
    }
    if (document.activeElement?.closest(SEARCH)) {
      replaceAround(document.getElementById("live"), document.adoptNode(live));
    } else {
      document.getElementById("live").replaceWith(document.adoptNode(live));
      if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
    }
    document.title = newer.title;
    document.querySelector("h1").innerHTML = newer.querySelector("h1").innerHTML;
    last = Date.now();
    announce(false);
    seen.textContent = "just now";
  } catch {
    announce(true);
    seen.textContent = `${Math.round((Date.now() - last) / 1000)} s ago: the daemon does not answer`;
  }
}

setInterval(update, PERIOD_IN_MS);
document.addEventListener("visibilitychange", update);
