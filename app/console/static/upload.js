// The upload page: files, folders and ZIP files go to the store resource of the service, a few small requests at a time.
// Memory stays flat: files are read as they are sent, and the table shows a bounded number of them.

import { chosenFiles, droppedFiles } from "./file_sources.js";
import { sopInstanceUid } from "./part10.js";
import { store } from "./stow.js";
import { ZipError } from "./zip_reader.js";

const REQUESTS = 3; // at once
const BATCH_FILES = 20, BATCH_BYTES = 2 ** 24; // an image set gets a version for each request, so small files go together
const ATTEMPTS = 6, LONGEST_WAIT_SECONDS = 60;
const MOST_ROWS = 200; // of files that went well, and as many of those that did not
const REFUSED = new Set([401, 403, 404, 405, 413, 415]); // sending the same again would end the same

const page = document.getElementById("upload");
const words = page.dataset;
const reasons = JSON.parse(words.reasons);
const find = (name) => page.querySelector(`[data-part="${name}"]`);

const say = (key, values = {}) =>
  Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), words[key] || key);

const size = (bytes) => {
  const unit = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** unit).toFixed(unit ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
};

// The state of one upload, from the first file to the last.
class Upload {
  constructor() {
    this.sources = []; // async iterators, each read to its end before the next
    this.failed = []; // files that may be tried again, and those that may not, with their reasons
    this.results = []; // a line for each file that is done
    this.found = { files: 0, bytes: 0 };
    this.done = { files: 0, bytes: 0, stored: 0, failed: 0 };
    this.sending = new Map(); // bytes on their way, by batch
    this.reading = Promise.resolve();
    this.next = null; // a file that did not fit into the last batch
    this.stopping = new AbortController();
    this.running = 0;
    this.stopReason = "";
  }

  add(source) {
    this.sources.push(source);
    while (this.running < REQUESTS) this.work();
  }

  get isBusy() {
    return this.running > 0;
  }

  async work() {
    this.running++;
    changed();
    try {
      for (let batch = await this.takeBatch(); batch.length; batch = await this.takeBatch()) {
        await this.send(batch).catch((error) => this.giveUp(batch, error));
      }
    } finally {
      this.running--;
      changed();
    }
  }

  // The next files that go together. One worker reads at a time, so that files come in order.
  takeBatch() {
    const turn = this.reading.then(() => this.readBatch());
    this.reading = turn.catch(() => undefined);
    return turn;
  }

  async readBatch() {
    const batch = [], uids = new Set();
    let bytes = 0;
    while (batch.length < BATCH_FILES && !this.stopping.signal.aborted) {
      const file = this.next || (await this.readFile());
      this.next = null;
      if (!file) break;
      if (batch.length && (bytes + file.blob.size > BATCH_BYTES || uids.has(file.uid))) {
        this.next = file;
        break;
      }
      batch.push(file);
      uids.add(file.uid);
      bytes += file.blob.size;
    }
    return batch;
  }

  // The next file that is DICOM, with its content; null at the end. Others are told as failed.
  async readFile() {
    while (this.sources.length) {
      const { value, done } = await this.sources[0].next();
      if (done) {
        this.sources.shift();
        continue;
      }
      this.found.files++;
      this.found.bytes += value.size || 0;
      changed();
      const file = { name: value.name, size: value.size || 0, open: value.open, row: new Row(value.name) };
      try {
        if (value.reason) throw new ZipError(value.reason);
        file.blob = await value.open();
        file.uid = await sopInstanceUid(file.blob);
        if (file.uid !== null) return file;
        this.fail(file, say("notDicom"), false);
      } catch (error) {
        this.fail(file, say(error instanceof ZipError ? error.reason : "unreadable"), !(error instanceof ZipError));
      }
    }
    return null;
  }

  // The files of a batch that are not done yet have failed.
  giveUp(batch, error) {
    this.sending.delete(batch);
    const why = say(error.name === "AbortError" ? "stopped" : "unreadable");
    for (const file of batch) if (file.blob) this.fail(file, why, true);
  }

  async send(batch) {
    const signal = this.stopping.signal;
    signal.throwIfAborted();
    for (const file of batch) file.row.sending(0);
    let answer;
    for (let attempt = 1; ; attempt++) {
      answer = await store(words.url, batch, (sent) => this.progress(batch, sent), signal);
      this.sending.delete(batch);
      const again = answer.status === 0 || answer.status === 503 || answer.status === 429;
      if (!again || attempt === ATTEMPTS) break;
      const seconds = Math.min(LONGEST_WAIT_SECONDS, answer.retrySeconds || 2 ** attempt);
      for (const file of batch) file.row.waiting(seconds);
      await pause(seconds * 1000, signal);
    }
    if (answer.status === 401 || answer.status === 403) this.stop(say(answer.status === 401 ? "signedOut" : "noRight"));
    const unknown = [];
    batch.forEach((file, at) => {
      const { state, code, detail } = answer.outcomes[at];
      if (state === "stored") this.succeed(file, code === undefined ? "" : reason(code, detail));
      else if (state === "failed") this.fail(file, reason(code, detail), true);
      else if ([200, 202, 409, 413].includes(answer.status) && batch.length > 1) unknown.push(file);
      else this.fail(file, refusal(answer.status, detail), true);
    });
    for (const file of unknown) await this.send([file]); // alone, so that the answer can only be about it
  }

  progress(batch, sent) {
    this.sending.set(batch, sent);
    let left = sent;
    for (const file of batch) {
      file.row.sending(file.blob.size ? Math.min(1, Math.max(0, left) / file.blob.size) : 1);
      left -= file.blob.size;
    }
    changed();
  }

  succeed(file, warning) {
    this.done.stored++;
    this.finish(file, "stored", warning);
    file.row.stored(warning);
  }

  fail(file, why, mayHelp) {
    this.done.failed++;
    this.failed.push({ name: file.name, size: file.size, open: file.open, mayHelp });
    this.finish(file, "failed", why);
    file.row.failed(why);
  }

  finish(file, state, text) {
    this.done.files++;
    this.done.bytes += file.size;
    this.results.push(`${state}\t${file.name}\t${text}`);
    file.blob = null;
    changed();
  }

  // Sends again what failed and may succeed, or what was left when it stopped.
  retry() {
    const again = this.failed.filter((file) => file.mayHelp && file.open);
    this.failed = this.failed.filter((file) => !(file.mayHelp && file.open));
    this.done.failed -= again.length;
    this.done.files -= again.length;
    this.found.files -= again.length;
    for (const { size: bytes } of again) {
      this.done.bytes -= bytes;
      this.found.bytes -= bytes;
    }
    Row.clearFailed();
    this.stopping = new AbortController();
    this.stopReason = "";
    this.add((async function* () { yield* again; })());
  }

  stop(why) {
    this.stopReason = why;
    this.stopping.abort();
  }
}

// A row of the table. The oldest rows of files that went well make room for new ones; rows of failures stay, to a bound.
class Row {
  static good = [];
  static bad = [];

  constructor(name) {
    this.name = name;
    this.element = null;
  }

  static clearFailed() {
    for (const row of Row.bad.splice(0)) row.remove();
  }

  show() {
    if (this.element) return;
    this.element = document.createElement("tr");
    for (const part of ["file", "state"]) {
      const cell = this.element.insertCell();
      cell.dataset.label = say(`${part}Label`);
      this[part] = cell;
    }
    this.file.textContent = this.name;
    find("rows").prepend(this.element);
  }

  remove() {
    if (this.element) this.element.remove();
    this.element = null;
  }

  sending(share) {
    this.show();
    if (!this.bar) {
      this.bar = document.createElement("progress");
      this.bar.max = 1;
      this.bar.setAttribute("aria-label", say("sending"));
      this.state.replaceChildren(this.bar);
    }
    this.bar.value = share;
  }

  waiting(seconds) {
    this.tell(say("waiting", { seconds }), "warn");
  }

  stored(warning) {
    this.tell(warning ? say("storedBut", { reason: warning }) : say("stored"), warning ? "warn" : "good");
    Row.good.push(this);
    if (Row.good.length > MOST_ROWS) Row.good.shift().remove();
  }

  failed(why) {
    if (Row.bad.length >= MOST_ROWS) {
      this.remove();
      return;
    }
    this.tell(why, "bad");
    Row.bad.push(this);
  }

  tell(text, kind) {
    this.show();
    this.bar = null;
    const told = document.createElement("span");
    told.className = kind;
    told.textContent = text;
    this.state.replaceChildren(told);
  }
}

function reason(code, detail) {
  const known = reasons[code];
  const hex = Number(code || 0).toString(16).toUpperCase().padStart(4, "0");
  return [known || say("otherReason", { code: `${hex}H` }), detail].filter(Boolean).join(": ");
}

function refusal(status, detail) {
  if (status === 0) return say("notReached");
  if (status === 413) return say("tooLarge");
  return say(REFUSED.has(status) ? "refused" : "notNow", { status, detail: detail || "" });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    }, { once: true });
  });
}

let upload = new Upload();
let isDue = false;

// Shows the sums, at most once in a frame.
function changed() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    show();
  });
}

function show() {
  const { found, done, failed } = upload;
  const onTheirWay = [...upload.sending.values()].reduce((sum, bytes) => sum + bytes, 0);
  find("progress").hidden = find("table").hidden = !found.files;
  find("total").max = Math.max(1, found.bytes);
  find("total").value = Math.min(done.bytes + onTheirWay, found.bytes);
  find("sums").textContent = say(upload.isBusy ? "sums" : "sumsAtEnd", {
    done: done.files, found: found.files, bytes: size(Math.min(done.bytes + onTheirWay, found.bytes)),
    all: size(found.bytes), stored: done.stored, failed: done.failed,
  });
  find("why").textContent = upload.stopReason;
  find("why").hidden = !upload.stopReason;
  const again = failed.filter((file) => file.mayHelp && file.open).length;
  find("retry").hidden = upload.isBusy || !again;
  find("retry").textContent = say("retry", { number: again });
  find("stop").hidden = !upload.isBusy;
  find("save").hidden = upload.isBusy || !upload.results.length;
  find("more").hidden = done.failed <= MOST_ROWS;
  if (!upload.isBusy && found.files) find("announce").textContent = find("sums").textContent;
  else if (!done.files) find("announce").textContent = "";
}

for (const name of ["files", "folder"]) {
  const input = find(name);
  find(`choose-${name}`).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    upload.add(chosenFiles([...input.files]));
    input.value = "";
  });
}

const zone = find("zone");
for (const type of ["dragenter", "dragover"]) {
  zone.addEventListener(type, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  upload.add(droppedFiles(event.dataTransfer));
});

find("retry").addEventListener("click", () => upload.retry());
find("stop").addEventListener("click", () => upload.stop(say("stopped")));
find("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([upload.results.join("\n"), "\n"], { type: "text/tab-separated-values" }));
  link.download = "upload.tsv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

window.addEventListener("beforeunload", (event) => {
  if (upload.isBusy) event.preventDefault();
});

find("with-script").hidden = false;
for (const form of page.querySelectorAll("[data-without-script]")) form.hidden = true;
