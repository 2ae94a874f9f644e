// Loads the page anew when something has changed, but never under somebody's hands.
"use strict";
(() => {
  const LEAST_MS = 2000;
  const loadedAt = Date.now();
  let isStale = false;
  const isBusy = () => document.hidden || document.activeElement?.matches("input, select, textarea, button");
  const renew = () => {
    if (!isStale || isBusy()) return;
    const waitMs = loadedAt + LEAST_MS - Date.now();
    if (waitMs > 0) setTimeout(renew, waitMs);
    else location.reload();
  };
  const changed = () => {
    isStale = true;
    renew();
  };
  const feed = new EventSource("/api/events");
  for (const kind of ["place", "report_state", "acknowledgement", "discrepancy", "state", "reset"]) {
    feed.addEventListener(kind, changed);
  }
  document.addEventListener("visibilitychange", renew);
  document.addEventListener("focusout", () => setTimeout(renew, 0));
})();
