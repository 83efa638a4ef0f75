// The files that a person drops or chooses, one after the other: each as {name, size, open}, or {name, reason}.

import { ZipError, zipEntries } from "./zip_reader.js";

const DEEPEST_FOLDER = 64;

// Files of an input element.
export async function* chosenFiles(files) {
  for (const file of files) yield* fileOrZip(file, file.webkitRelativePath || file.name);
}

// Files and folders of a drop. Must be called within the event, which ends the access to them.
export function droppedFiles(transfer) {
  const dropped = [...transfer.items].filter((item) => item.kind === "file");
  return inDrop(dropped.map((item) => item.webkitGetAsEntry() || item.getAsFile()).filter(Boolean));
}

async function* inDrop(dropped) {
  for (const one of dropped) yield* one instanceof File ? fileOrZip(one, one.name) : inEntries([one], 0);
}

async function* inEntries(entries, depth) {
  for (const entry of entries) {
    if (entry.isFile) yield* inFileEntry(entry);
    else if (depth >= DEEPEST_FOLDER) yield { name: entry.fullPath, reason: "folderTooDeep" };
    else yield* inFolder(entry.createReader(), depth);
  }
}

async function* inFileEntry(entry) {
  const name = entry.fullPath.replace(/^\//, "");
  let file;
  try {
    file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  } catch {
    yield { name, reason: "unreadable" };
    return;
  }
  yield* fileOrZip(file, name);
}

async function* inFolder(reader, depth) {
  for (;;) { // a reader gives a hundred entries at a time
    const entries = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!entries.length) return;
    yield* inEntries(entries, depth + 1);
  }
}

async function* fileOrZip(file, name) {
  let start;
  try {
    start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  } catch {
    yield { name, reason: "unreadable" };
    return;
  }
  const isZip = start[0] === 0x50 && start[1] === 0x4b && (start[2] === 3 || start[2] === 5);
  if (!isZip) {
    yield { name, size: file.size, open: async () => file };
    return;
  }
  try {
    for await (const entry of zipEntries(file)) yield { ...entry, name: `${name}/${entry.name}` };
  } catch (error) {
    yield { name, reason: error instanceof ZipError ? error.reason : "unreadable" };
  }
}
