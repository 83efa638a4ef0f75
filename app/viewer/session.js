/* Part of app-config.js. Sends the page on when the service says that the login or the link has ended, or when a proxy
   answers with its login. Keeps the session of a page that is used, as app/console/static/console.js does for the
   console. Makes the roots of window.config absolute, because OHIF takes URLs alone. */
function followSession(ended, login) {
  "use strict";
  const AGAIN = "viewer-opened-again", TOO_SOON_MS = 10000;
  const base = window.config.routerBasename;
  let left = false, asking = false;
  function look(status, url) {
    if (status !== 401 || left || new URL(url, window.location.href).origin !== window.location.origin) {
      return;
    }
    if (ended) {
      leave(ended);
    } else {
      openAgain();
    }
  }
  function leave(place) {
    const here = window.location.pathname + window.location.search;
    left = true;
    window.location.replace(place + "?next=" + encodeURIComponent(here));
  }
  function openAgain() {
    // A proxy shows its login to those who open a page, and leads back to it. If it did not, the access has ended.
    const last = Number(window.sessionStorage.getItem(AGAIN));
    window.sessionStorage.setItem(AGAIN, String(Date.now()));
    if (Date.now() - last < TOO_SOON_MS) {
      leave(base + "/ended");
    } else {
      left = true;
      window.location.reload();
    }
  }
  async function askProxy() {
    // Scripts cannot see that a request failed because a proxy sent it to a login elsewhere. So they ask without going there.
    if (asking || left) {
      return;
    }
    asking = true;
    try {
      const answer = await fetched(base + "/app-config.js", { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect" && !left) {
        openAgain();
      }
    } catch {
      // The service is away, which OHIF says itself.
    } finally {
      asking = false;
    }
  }
  const fetched = window.fetch.bind(window);
  window.fetch = async function (...request) {
    try {
      const answer = await fetched(...request);
      look(answer.status, answer.url);
      return answer;
    } catch (error) {
      if (error.name !== "AbortError") {
        askProxy();
      }
      throw error;
    }
  };
  const opened = window.XMLHttpRequest.prototype.open;
  window.XMLHttpRequest.prototype.open = function (...request) {
    this.addEventListener("load", () => look(this.status, this.responseURL));
    this.addEventListener("error", askProxy);
    return opened.apply(this, request);
  };
  if (ended && ended.endsWith("/console/login")) {
    let used = false;
    for (const name of ["pointerdown", "keydown", "wheel"]) {
      document.addEventListener(name, () => { used = true; }, { capture: true, passive: true });
    }
    setInterval(() => {
      if (used) window.fetch(ended + "/renew").catch(() => {});
      used = false;
    }, 5 * 60 * 1000);
  }
  for (const source of window.config.dataSources) {
    for (const name of ["qidoRoot", "wadoRoot", "wadoUriRoot"]) {
      source.configuration[name] = window.location.origin + source.configuration[name];
    }
  }
  const named = window.location.pathname.slice(window.config.routerBasename.length).split("/")[2];
  if (login && named && !window.config.dataSources.some((source) => source.sourceName === decodeURIComponent(named))) {
    leave(login);
  }
}
