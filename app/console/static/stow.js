// A store request (STOW-RS, PS3.18 Section 10.5) with several files, and what has become of each of them.

const FAILED = "00081198", REFERENCED = "00081199", OTHERS = "0008119A";
const FAILURE_REASON = "00081197", WARNING_REASON = "00081196", INSTANCE = "00081155";

// Sends files, each {uid, blob}. Resolves to {status, retrySeconds, outcomes}: an outcome for each file, in order, as
// {state, code, detail}; `state` is "stored", "failed" or "unknown" (the answer does not tell). A status of 0 means that
// the service was not reached. `progress` is called with the bytes that were sent.
export function store(url, files, progress, signal) {
  const boundary = `console-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.setRequestHeader("Content-Type", `multipart/related; type="application/dicom"; boundary="${boundary}"`);
    request.setRequestHeader("Accept", "application/dicom+json");
    request.responseType = "text";
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => resolve(answer(request, files));
    request.onerror = () => resolve({ status: 0, retrySeconds: 0, outcomes: files.map(() => ({ state: "unknown" })) });
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body(boundary, files));
  });
}

function body(boundary, files) {
  const head = `--${boundary}\r\nContent-Type: application/dicom\r\n`;
  const parts = files.flatMap(({ blob }) => [`${head}Content-Length: ${blob.size}\r\n\r\n`, blob, "\r\n"]);
  return new Blob([...parts, `--${boundary}--\r\n`]);
}

function answer(request, files) {
  const retrySeconds = Number(request.getResponseHeader("Retry-After")) || 0;
  const told = [200, 202, 409].includes(request.status) ? parsed(request.responseText) : null;
  if (!told) {
    const detail = problem(request.responseText);
    return { status: request.status, retrySeconds, outcomes: files.map(() => ({ state: "unknown", detail })) };
  }
  const details = detailsByCode(request.getResponseHeader("Warning") || "");
  return { status: request.status, retrySeconds, outcomes: outcomes(told, files, details) };
}

function outcomes(told, files, details) {
  const byUid = new Map();
  for (const item of items(told, REFERENCED)) {
    const code = first(item, WARNING_REASON);
    byUid.set(first(item, INSTANCE), { state: "stored", code, detail: details.get(code) });
  }
  for (const item of items(told, FAILED)) byUid.set(first(item, INSTANCE), failure(item, details));
  const others = items(told, OTHERS).map((item) => failure(item, details));
  return files.map(({ uid }) => byUid.get(uid) || alone(files, byUid, others) || { state: "unknown" });
}

// The outcome of the only file of a request, whatever UID the answer has for it.
function alone(files, byUid, others) {
  return files.length === 1 ? [...byUid.values(), ...others][0] : undefined;
}

function failure(item, details) {
  const code = first(item, FAILURE_REASON);
  return { state: "failed", code, detail: details.get(code) };
}

// The reasons in words, by their codes; a code for which there are several has none.
function detailsByCode(warning) {
  const found = new Map();
  for (const [, hex, detail] of warning.matchAll(/reason ([0-9A-F]{4,})H: ((?:[^"\\]|\\.)*)"/g)) {
    const code = parseInt(hex, 16);
    found.set(code, found.has(code) ? "" : detail.replace(/\\(.)/g, "$1"));
  }
  return found;
}

function items(dataSet, tag) {
  return (dataSet[tag] && dataSet[tag].Value) || [];
}

function first(item, tag) {
  return items(item, tag)[0];
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function problem(text) {
  const found = parsed(text);
  return found && typeof found.detail === "string" ? found.detail : "";
}
