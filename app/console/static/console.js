"use strict";
// What all pages share. Every page works without it.

// A form that sends itself when a value changes, marked by data-send-on-change; without scripts it has its button.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-send-on-change]");
  if (form) form.requestSubmit();
});

// A button that asks before it does something that cannot be undone; the question is in data-confirm.
document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A form that changes something is sent once, though somebody clicks twice: the second answer would hide the first, which
// may have a password or token that is shown once. After a while it can be sent again: its answer may have got lost.
const SENT_MILLISECONDS = 30_000;
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (performance.now() < Number(form.dataset.sentUntil)) event.preventDefault();
  else form.dataset.sentUntil = performance.now() + SENT_MILLISECONDS;
});
window.addEventListener("pageshow", () => { // the page may come back with all that it had
  for (const form of document.forms) delete form.dataset.sentUntil;
});

// A part of a page that is refused: the browser goes there itself, and so shows the page that says why, or the login.
// One that asks again by itself (data-polls) stays, and says that it is old.
for (const name of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(name, (event) => {
    const { verb, path } = event.detail.requestConfig || {};
    const polling = event.target.closest("[data-polls]");
    if (polling) {
      polling.querySelector("[data-stale]").hidden = false;
      return;
    }
    if (verb === "get") window.location.assign((event.detail.pathInfo || {}).finalRequestPath || path);
  });
}

// A page that is used for long keeps its session, also one that opens no other page: OpenID Connect issuers are asked again.
const renewal = document.body.dataset.renewal;
if (renewal) {
  let used = false;
  for (const name of ["pointerdown", "keydown", "wheel"]) {
    document.addEventListener(name, () => { used = true; }, { passive: true });
  }
  setInterval(() => {
    if (used) fetch(renewal).catch(() => {}); // without an answer, the next page asks
    used = false;
  }, 5 * 60 * 1000);
}
