// Shows a newer page every five seconds, without a jump: it replaces #live, and keeps the focus, the scroll position and
// what is folded.
// The page works without this script: then the browser loads it again (the noscript element in its head).
"use strict";

const PERIOD_IN_MS = 5000;
const seen = document.getElementById("seen");
let last = Date.now();

function isBusy() {
  const focused = document.activeElement;
  return document.hidden || (focused !== null && ["INPUT", "SELECT"].includes(focused.tagName));
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
  if (isBusy()) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PERIOD_IN_MS * 2) });
    if (!answer.ok) throw new Error(String(answer.status));
    const newer = new DOMParser().parseFromString(await answer.text(), "text/html");
    const live = newer.getElementById("live");
    if (live === null) throw new Error("no page");
    if (isBusy()) return;
    const focused = nameOf(document.activeElement);
    for (const older of document.querySelectorAll("#live details")) {
      const same = live.querySelector(`[id="${CSS.escape(older.id)}"]`);
      if (same !== null) same.open = older.open;
    }
    document.getElementById("live").replaceWith(document.adoptNode(live));
    if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
    document.title = newer.title;
    document.querySelector("h1").innerHTML = newer.querySelector("h1").innerHTML;
    last = Date.now();
    document.body.classList.remove("stale");
    seen.textContent = "just now";
  } catch {
    document.body.classList.add("stale");
    seen.textContent = `${Math.round((Date.now() - last) / 1000)} s ago: the daemon does not answer`;
  }
}

setInterval(update, PERIOD_IN_MS);
document.addEventListener("visibilitychange", update);
