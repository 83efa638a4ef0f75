/* Part of app-config.js. Sends the page on when the service says that the login or the link has ended. Keeps the session
   of a page that is used, as app/console/static/console.js does for the console. Makes the roots of window.config
   absolute, because OHIF takes URLs alone. */
function followSession(ended, login) {
  "use strict";
  let left = false;
  function look(status, url) {
    if (status !== 401 || left || new URL(url, window.location.href).origin !== window.location.origin) {
      return;
    }
    left = true;
    leave(ended);
  }
  function leave(place) {
    const here = window.location.pathname + window.location.search;
    window.location.replace(place + "?next=" + encodeURIComponent(here));
  }
  const fetched = window.fetch;
  window.fetch = async function (...request) {
    const answer = await fetched.apply(this, request);
    look(answer.status, answer.url);
    return answer;
  };
  const opened = window.XMLHttpRequest.prototype.open;
  window.XMLHttpRequest.prototype.open = function (...request) {
    this.addEventListener("load", () => look(this.status, this.responseURL));
    return opened.apply(this, request);
  };
  if (ended.endsWith("/console/login")) {
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
