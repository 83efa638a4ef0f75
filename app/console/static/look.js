// The quick look: draws pictures on a canvas, and moves through them. Without this script the page shows one at a time.

import { Loader, PictureCache, PictureList, ring, ringLength, sideFor, source } from "./look-pictures.js";

const CACHE_BYTES = 192 * 2 ** 20;
const DRAFT_SIDE = 1024; // of a picture while its window is being dragged
const STILL_STEP_SECONDS = 1 / 15;
const WAIT_SHOWN_AFTER_MS = 200;
const SAID_AFTER_MS = 500;
const SETTLED_AFTER_MS = 250;
const SKETCHED_EVERY_MS = 120;
const PIXELS_OF_A_STEP = 60; // of a wheel that reports pixels
const ZOOM = { least: 0.2, most: 24, step: 1.25 };

const byId = (id) => document.getElementById(id);
const look = byId("look");
const view = byId("view");
const canvas = byId("canvas");
const pen = canvas.getContext("2d", { alpha: false });
const draft = document.createElement("canvas");
const draftPen = draft.getContext("2d", { willReadFrequently: true });
const words = (name, values = {}) =>
  look.getAttribute(`data-text-${name}`).replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));

// The series that is shown: `base` is its path, `list` its pictures, and the others what is loaded of them.
let base = "";
let list = null;
let cache = null;
let loader = null;
let asked = new Set(); // pages of the list that are being fetched

const state = { drag: "", speed: 1, playing: 0 };

/** Begin with the series and the picture that the page names. */
function takeUp() {
  loader?.want([]);
  cache?.clear();
  const { root, study, series, picture, total, page, window } = look.dataset;
  base = `${root}/studies/${encodeURIComponent(study)}/series/${encodeURIComponent(series)}`;
  list = new PictureList(look.dataset.list + encodeURIComponent(series), Number(page), Number(total));
  cache = new PictureCache(CACHE_BYTES);
  loader = new Loader(cache, arrived, arrived);
  asked = new Set();
  Object.assign(state, {
    picture: Number(picture),
    window, // "" for that of the data set
    dragged: null, // a window that is not loaded yet
    zoom: 1,
    pan: { x: 0, y: 0 },
    inverted: false,
    direction: 1,
    last: null, // the picture that was drawn last
  });
}

// ---- windows

function parseWindow(text) {
  const [center, width, name] = text.split(",");
  return { center: Number(center), width: Number(width), name: name || "linear" };
}

/** The window in which a picture was drawn by the service; null where it takes none. */
function windowOf(instance, text) {
  if (!instance.window) return null;
  if (text) return parseWindow(text);
  const [center, width, name] = (instance.windows && instance.windows[0]) || instance.assumed;
  return { center, width, name };
}

function writeWindow(window) {
  return `${Number(window.center.toPrecision(6))},${Number(window.width.toPrecision(6))},${window.name}`;
}

/** Grey levels of one window for those of another: right for linear windows, near enough for others while dragging. */
function levels(from, to, inverted) {
  const table = new Uint8ClampedArray(256);
  for (let level = 0; level < 256; level += 1) {
    const value = from.center + ((inverted ? 255 - level : level) / 255 - 0.5) * from.width;
    const grey = ((value - to.center) / to.width + 0.5) * 255;
    table[level] = inverted ? 255 - grey : grey;
  }
  return table;
}

/** A draft of a picture in another window, made of the pixels that are there. */
function drafted(bitmap, from, to, inverted) {
  const scale = Math.min(1, DRAFT_SIDE / Math.max(bitmap.width, bitmap.height));
  draft.width = Math.max(1, Math.round(bitmap.width * scale));
  draft.height = Math.max(1, Math.round(bitmap.height * scale));
  draftPen.drawImage(bitmap, 0, 0, draft.width, draft.height);
  const pixels = draftPen.getImageData(0, 0, draft.width, draft.height);
  const table = levels(from, to, inverted);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at] = table[pixels.data[at]];
    pixels.data[at + 1] = table[pixels.data[at + 1]];
    pixels.data[at + 2] = table[pixels.data[at + 2]];
  }
  draftPen.putImageData(pixels, 0, 0);
  return draft;
}

let sketchTimer = 0;
/** While a window is being dragged, the picture is loaded in it now and then: a draft is the better, the nearer its source. */
function sketch(instance) {
  if (sketchTimer) return;
  sketchTimer = setTimeout(() => {
    sketchTimer = 0;
    if (state.dragged) loader.want([wantedSource(instance, state.picture, writeWindow(state.dragged))]);
  }, SKETCHED_EVERY_MS);
}

// ---- drawing

let drawing = 0;
let hasSettled = false;
let settleTimer = 0;
function redraw() {
  hasSettled = false;
  clearTimeout(settleTimer);
  settleTimer = setTimeout(() => {
    hasSettled = true;
    if (!drawing) drawing = requestAnimationFrame(draw);
  }, SETTLED_AFTER_MS);
  if (!drawing) drawing = requestAnimationFrame(draw);
}

function draw() {
  drawing = 0;
  const instance = list.find(state.picture);
  if (!instance || instance.kind !== "image") return;
  const held = cache.get(state.picture);
  const failure = loader.failure(wantedSource(instance, state.picture).url);
  if (held) state.last = { picture: state.picture, held, instance };
  showFailure(held ? null : failure);
  waiting(!held && !failure);
  const ratio = window.devicePixelRatio || 1;
  const size = { width: Math.round(canvas.clientWidth * ratio), height: Math.round(canvas.clientHeight * ratio) };
  if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const shown = held ? state.last : failure ? null : stillHeld();
  if (shown) paint(shown, ratio);
  if (held) canvas.dataset.shown = state.picture;
}

/** The picture that was drawn last, unless its memory was given back meanwhile. */
function stillHeld() {
  return state.last && cache.held.get(state.last.picture) === state.last.held ? state.last : null;
}

function paint({ held, instance }, ratio) {
  const from = windowOf(instance, held.window);
  const to = from && (state.dragged || windowOf(instance, state.window));
  const differs = from && (from.center !== to.center || from.width !== to.width);
  const image = differs ? drafted(held.bitmap, from, to, Boolean(instance.inverted)) : held.bitmap;
  const { width, height } = held.bitmap;
  const scale = Math.min(canvas.width / width, canvas.height / height) * state.zoom;
  const x = canvas.width / 2 + state.pan.x * ratio - (width * scale) / 2;
  const y = canvas.height / 2 + state.pan.y * ratio - (height * scale) / 2;
  pen.imageSmoothingEnabled = scale < 4;
  pen.imageSmoothingQuality = scale < 1 && hasSettled ? "high" : "low"; // "high" takes ten times as long
  pen.drawImage(image, x, y, width * scale, height * scale);
  if (state.inverted) {
    pen.globalCompositeOperation = "difference";
    pen.fillStyle = "#fff";
    pen.fillRect(x, y, width * scale, height * scale);
    pen.globalCompositeOperation = "source-over";
  }
  canvas.dataset.window = differs ? "draft" : held.window || "own";
  byId("zoom-text").textContent = state.zoom === 1 ? "" : words("zoom", { percent: Math.round(state.zoom * 100) });
  byId("window-text").textContent = to
    ? words("window", { center: Number(to.center.toPrecision(5)), width: Number(to.width.toPrecision(5)) })
    : "";
}

// ---- loading

function wantedSource(instance, picture, chosen = state.window) {
  const side = sideFor(instance, Math.max(view.clientWidth, view.clientHeight) * (window.devicePixelRatio || 1) * state.zoom);
  return { picture, window: instance.window ? chosen : "", ...source(base, instance, picture, chosen, side) };
}

function load() {
  const present = list.find(state.picture);
  if (!present) return fetchList(state.picture);
  const side = wantedSource(present, state.picture);
  const count = ringLength(CACHE_BYTES, present, /viewport=(\d+)/.exec(side.url)?.[1]);
  const wanted = [];
  for (const picture of ring(state.picture, list.total, state.direction, count)) {
    const instance = list.find(picture);
    if (!instance) fetchList(picture);
    else if (instance.kind === "image") wanted.push(wantedSource(instance, picture));
  }
  loader.want(wanted);
  return undefined;
}

async function fetchList(picture) {
  const [mine, pages] = [list, asked];
  const page = Math.floor(picture / list.pageSize);
  if (pages.has(page)) return;
  pages.add(page);
  try {
    await mine.load(picture);
    if (mine === list) show();
  } catch (error) {
    if (mine !== list) return;
    showFailure(error);
    waiting(false);
  } finally {
    pages.delete(page);
  }
}

function arrived(one) {
  if (one.picture === state.picture) redraw();
}

// ---- what is around the picture

let waitTimer = 0;
function waiting(isWaiting) {
  const shown = byId("wait");
  clearTimeout(waitTimer);
  if (isWaiting) waitTimer = setTimeout(() => { shown.hidden = false; }, WAIT_SHOWN_AFTER_MS);
  else shown.hidden = true;
}

function showFailure(failure) {
  const panel = byId("error");
  if (!failure) {
    panel.hidden = true;
    return;
  }
  const known = look.hasAttribute(`data-text-error-${failure.status}`);
  const text = words(failure.status === 0 ? "error-network" : known ? `error-${failure.status}` : "error-other");
  if (panel.hidden || byId("error-text").textContent !== text) byId("error-text").textContent = text;
  panel.hidden = false;
}

let sayTimer = 0;
function say() {
  const number = words("slice", { number: state.picture + 1, total: list.total });
  byId("number-text").textContent = number;
  byId("slider").value = state.picture + 1;
  byId("slider").setAttribute("aria-valuetext", number);
  clearTimeout(sayTimer);
  sayTimer = setTimeout(() => {
    if (!state.playing) byId("live").textContent = number;
    noteAddress();
  }, SAID_AFTER_MS);
}

/** The address of the page leads to what it shows. */
function noteAddress() {
  clearTimeout(sayTimer);
  const query = new URLSearchParams(location.search);
  query.set("series", look.dataset.series);
  query.set("picture", state.picture + 1);
  if (state.window) query.set("window", state.window);
  else query.delete("window");
  history.replaceState(null, "", `?${query}`.replaceAll("%2C", ","));
}

function markWindows() {
  for (const link of byId("windows").querySelectorAll("[data-window]")) {
    if (link.dataset.window === state.window) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// ---- objects that are not drawn on the canvas

function showObject(instance) {
  const first = byId("first");
  const place = byId("document");
  if (place.dataset.uid === instance.uid) return;
  place.dataset.uid = instance.uid;
  view.classList.toggle("look-page", instance.kind === "page");
  if (first && first.dataset.uid === instance.uid) {
    if (first instanceof HTMLVideoElement) watchVideo(first);
    return;
  }
  if (first) first.remove();
  place.replaceChildren(objectFor(instance));
  place.hidden = false;
}

function leaveObject() {
  const place = byId("document");
  place.hidden = true;
  place.replaceChildren();
  delete place.dataset.uid;
  view.classList.remove("look-page");
}

function objectFor(instance) {
  const object = `${base}/instances/${encodeURIComponent(instance.uid)}`;
  if (instance.kind === "page") {
    const frame = document.createElement("iframe");
    frame.title = byId("series-text").textContent;
    frame.src = `${object}/rendered?accept=${instance.type}`;
    return frame;
  }
  if (instance.kind === "video") return videoFor(`${object}/frames/1?accept=${instance.type}`);
  const note = document.createElement("p");
  note.className = "look-note";
  note.textContent = words(instance.kind === "file" ? "file" : "nothing");
  return note;
}

function videoFor(url) {
  const video = document.createElement("video");
  video.controls = true;
  watchVideo(video);
  video.src = url;
  return video;
}

function watchVideo(video) {
  const tell = () => {
    byId("error-text").textContent = words("error-video");
    byId("error").hidden = false;
  };
  video.addEventListener("error", tell);
  if (video.error) tell();
}

// ---- moving

function show() {
  const instance = list.find(state.picture);
  say();
  if (!instance) return load();
  const isImage = instance.kind === "image";
  canvas.hidden = !isImage;
  byId("windows").hidden = !instance.window;
  if (isImage) {
    leaveObject();
    byId("first")?.remove();
    redraw();
  } else {
    showFailure(null);
    waiting(false);
    showObject(instance);
  }
  return load();
}

function go(picture) {
  const next = Math.max(0, Math.min(list.total - 1, picture));
  if (next === state.picture) return;
  state.direction = next > state.picture ? 1 : -1;
  state.picture = next;
  show();
}

function setWindow(text) {
  state.window = text;
  state.dragged = null;
  markWindows();
  say();
  load();
  redraw();
}

function zoomBy(factor, at = null) {
  const next = Math.max(ZOOM.least, Math.min(ZOOM.most, state.zoom * factor));
  const change = next / state.zoom;
  if (at) {
    const box = canvas.getBoundingClientRect();
    const x = at.x - box.left - box.width / 2;
    const y = at.y - box.top - box.height / 2;
    state.pan = { x: x - (x - state.pan.x) * change, y: y - (y - state.pan.y) * change };
  } else {
    state.pan = { x: state.pan.x * change, y: state.pan.y * change };
  }
  state.zoom = Math.abs(next - 1) < 0.01 ? 1 : next;
  load();
  redraw();
}

function panBy(x, y) {
  state.pan = { x: state.pan.x + x, y: state.pan.y + y };
  redraw();
}

function reset() {
  Object.assign(state, { zoom: 1, pan: { x: 0, y: 0 }, inverted: false });
  showInverted();
  setWindow("");
}

function invert() {
  state.inverted = !state.inverted;
  showInverted();
  redraw();
}

function showInverted() {
  byId("invert").setAttribute("aria-pressed", String(state.inverted));
}

// ---- cine

function play() {
  const button = byId("play");
  if (state.playing) {
    cancelAnimationFrame(state.playing);
    state.playing = 0;
    button.textContent = words("play");
    say();
    return;
  }
  button.textContent = words("pause");
  let due = performance.now();
  const tick = (now) => {
    state.playing = requestAnimationFrame(tick);
    const instance = list.find(state.picture);
    const step = (1000 * ((instance && instance.step) || STILL_STEP_SECONDS)) / state.speed;
    if (now < due) return;
    const next = following(instance);
    const target = list.find(next);
    if (target && target.kind === "image" && !cache.held.has(next) && !loader.failure(wantedSource(target, next).url)) {
      due = now; // it is being loaded
      return;
    }
    due = Math.max(due + step, now - step);
    state.direction = 1;
    state.picture = next;
    show();
  };
  state.playing = requestAnimationFrame(tick);
}

/** The picture after the present one: of the same cine, or of the series. */
function following(instance) {
  const next = state.picture + 1;
  if (instance && instance.pictures > 1) return next < instance.start + instance.pictures ? next : instance.start;
  return next < list.total ? next : 0;
}

// ---- pointers

const pointers = new Map();
let gesture = null;

function modeOf(event) {
  if (event.pointerType === "mouse" && (event.button !== 0 || event.shiftKey)) return "pan";
  const instance = list.find(state.picture);
  const mode = state.drag || (event.pointerType === "touch" ? "scroll" : "window");
  return mode === "window" && !(instance && instance.window) ? "pan" : mode;
}

function middle() {
  const [one, other] = [...pointers.values()];
  return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, apart: Math.hypot(one.x - other.x, one.y - other.y) };
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const instance = list.find(state.picture);
  if (pointers.size === 2) gesture = { mode: "pinch", from: middle() };
  else if (pointers.size === 1) {
    const mode = modeOf(event);
    const window = instance && windowOf(instance, state.window);
    gesture = { mode, x: event.clientX, y: event.clientY, lastX: event.clientX, lastY: event.clientY, window, picture: state.picture };
  }
});

canvas.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId) || !gesture) return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (gesture.mode === "pinch" && pointers.size === 2) {
    const now = middle();
    panBy(now.x - gesture.from.x, now.y - gesture.from.y);
    zoomBy(now.apart / Math.max(1, gesture.from.apart), now);
    gesture.from = now;
  } else if (gesture.mode === "pan") {
    panBy(event.clientX - gesture.lastX, event.clientY - gesture.lastY);
  } else if (gesture.mode === "scroll") {
    const pixels = Math.max(4, Math.min(24, canvas.clientHeight / list.total));
    go(gesture.picture + Math.round((event.clientY - gesture.y) / pixels));
  } else if (gesture.mode === "window" && gesture.window) {
    const { center, width, name } = gesture.window;
    const wider = Math.max(1, width * Math.exp((event.clientX - gesture.x) / 200));
    state.dragged = { center: center + ((event.clientY - gesture.y) * width) / 300, width: wider, name };
    sketch(list.find(state.picture));
    redraw();
  }
  gesture.lastX = event.clientX;
  gesture.lastY = event.clientY;
});

function released(event) {
  pointers.delete(event.pointerId);
  if (gesture && gesture.mode === "window" && state.dragged) setWindow(writeWindow(state.dragged));
  gesture = null;
}
canvas.addEventListener("pointerup", released);
canvas.addEventListener("pointercancel", released);
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("dblclick", reset);

let wheeled = 0;
view.addEventListener("wheel", (event) => {
  if (canvas.hidden) return;
  event.preventDefault();
  if (event.ctrlKey) {
    zoomBy(Math.exp(-event.deltaY / 300), { x: event.clientX, y: event.clientY });
    return;
  }
  wheeled += event.deltaMode === 0 ? event.deltaY / PIXELS_OF_A_STEP : event.deltaY / 3;
  const steps = Math.trunc(wheeled) || (Math.abs(event.deltaY) >= PIXELS_OF_A_STEP ? Math.sign(event.deltaY) : 0);
  if (!steps) return;
  wheeled = 0;
  go(state.picture + Math.sign(steps) * Math.min(3, Math.abs(steps)));
}, { passive: false });

// ---- another series, without another page

let wantedAddress = "";
/** Show the series that an address of this page names. What cannot be shown so, is opened as a page. */
async function goTo(address) {
  wantedAddress = address;
  if (state.playing) play();
  waiting(true);
  let page = null;
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.ok && !answer.redirected) page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    // the browser tells what is wrong with the page
  }
  if (wantedAddress !== address) return;
  const stage = page?.getElementById("look");
  if (!stage) location.assign(address);
  else take(stage, page);
}

/** Put what another page says of its series in the place of what this one says. */
function take(stage, page) {
  for (const name of ["series", "picture", "total", "window"]) look.dataset[name] = stage.dataset[name];
  byId("windows").replaceChildren(...page.getElementById("windows").childNodes);
  byId("series-text").textContent = page.getElementById("series-text").textContent;
  for (const link of seriesLinks()) {
    if (link.dataset.series === look.dataset.series) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  byId("first")?.remove();
  leaveObject();
  showFailure(null);
  takeUp();
  showInverted();
  begin();
}

function seriesLinks() {
  return [...document.querySelectorAll("[data-series][href]")];
}

/** Follow a link to a series; the button for going back leads to the present one. */
function follow(link) {
  noteAddress();
  history.pushState(null, "", link.href);
  goTo(link.href);
}

window.addEventListener("popstate", () => goTo(location.href));
document.querySelector(".look-series").addEventListener("click", (event) => {
  const link = event.target.closest("[data-series][href]");
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  follow(link);
});

// ---- keys and buttons

function openSeries(step) {
  const links = seriesLinks();
  const next = links[links.findIndex((link) => link.hasAttribute("aria-current")) + step];
  if (!next) return;
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  follow(next);
}

function pressWindow(number) {
  byId("windows").querySelectorAll("[data-window]")[number]?.click();
}

const KEYS = {
  ArrowDown: () => go(state.picture + 1),
  ArrowRight: () => go(state.picture + 1),
  ArrowUp: () => go(state.picture - 1),
  ArrowLeft: () => go(state.picture - 1),
  PageDown: () => go(state.picture + 10),
  PageUp: () => go(state.picture - 10),
  Home: () => go(0),
  End: () => go(list.total - 1),
  " ": play,
  "+": () => zoomBy(ZOOM.step),
  "=": () => zoomBy(ZOOM.step),
  "-": () => zoomBy(1 / ZOOM.step),
  0: reset,
  "<": () => changeSpeed(-1),
  ">": () => changeSpeed(1),
  "?": () => { byId("keys").open = !byId("keys").open; },
  i: invert,
  "[": () => openSeries(-1),
  "]": () => openSeries(1),
};
const PANS = { ArrowDown: [0, -40], ArrowUp: [0, 40], ArrowLeft: [40, 0], ArrowRight: [-40, 0] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, iframe, video")) return;
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  const pan = event.shiftKey && PANS[event.key];
  const action = pan ? () => panBy(...pan) : /^[1-9]$/.test(event.key) ? () => pressWindow(Number(event.key) - 1) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

function changeSpeed(step) {
  const chosen = byId("speed");
  chosen.selectedIndex = Math.max(0, Math.min(chosen.length - 1, chosen.selectedIndex + step));
  state.speed = Number(chosen.value);
}

function onClick(id, action) {
  byId(id).addEventListener("click", (event) => {
    event.preventDefault();
    action();
  });
}
onClick("before", () => go(state.picture - 1));
onClick("after", () => go(state.picture + 1));
onClick("play", play);
onClick("larger", () => zoomBy(ZOOM.step));
onClick("smaller", () => zoomBy(1 / ZOOM.step));
onClick("invert", invert);
onClick("reset", reset);
onClick("retry", () => {
  loader.forgive();
  showFailure(null);
  show();
});
byId("windows").addEventListener("click", (event) => {
  const link = event.target.closest("[data-window]");
  if (!link) return;
  event.preventDefault();
  setWindow(link.dataset.window);
});
byId("script-tools").addEventListener("click", (event) => {
  const button = event.target.closest("[data-drag]");
  if (!button) return;
  state.drag = state.drag === button.dataset.drag ? "" : button.dataset.drag;
  for (const one of byId("script-tools").querySelectorAll("[data-drag]")) {
    one.setAttribute("aria-pressed", String(one.dataset.drag === state.drag));
  }
});
byId("speed").addEventListener("change", () => changeSpeed(0));
byId("slider").addEventListener("input", () => go(Number(byId("slider").value) - 1));
new ResizeObserver(() => {
  redraw();
  if (list.find(state.picture)) load();
}).observe(view);

// ---- the beginning: the picture of the page is the first of the canvas

async function begin() {
  const mine = list;
  const first = byId("first");
  try {
    await list.load(state.picture);
  } catch (error) {
    if (mine === list) showFailure(error);
    return;
  }
  if (mine !== list) return;
  const instance = list.find(state.picture);
  if (first && instance) first.dataset.uid = instance.uid;
  const isWhole = instance && instance.kind === "image" && !instance.tiles;
  if (isWhole && first instanceof HTMLImageElement && (await hasLoaded(first))) {
    const { url } = wantedSource(instance, state.picture);
    const bitmap = await createImageBitmap(first);
    if (mine !== list) return;
    cache.put(state.picture, { bitmap, url, window: instance.window ? state.window : "" });
  }
  byId("slider").max = list.total;
  for (const id of ["slider-label", "play", "speed-label"]) byId(id).hidden = list.total < 2;
  byId("script-tools").hidden = instance?.kind !== "image";
  byId("keys").hidden = false;
  markWindows();
  show();
}

function hasLoaded(image) {
  return image.decode().then(() => image.naturalWidth > 0, () => false);
}

takeUp();
begin();
