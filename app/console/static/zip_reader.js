// A reader for ZIP files (APPNOTE 4.3, 4.5.3) that holds a few megabytes at a time, whatever the file has in it.

const LARGEST_ENTRY = 2 ** 31; // bytes of a file in it
const LARGEST_DIRECTORY = 2 ** 26; // about half a million files
const END_BYTES = 22 + 0xffff; // the end record and its comment
const PIECE_BYTES = 2 ** 24; // so much is handed to the browser at once, which may keep it on disk
const STORED = 0, DEFLATED = 8;

export class ZipError extends Error {
  // `reason` is the key of a text of the page.
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

// The files in a ZIP file, each as {name, size, open}; `open` promises its content, or a ZipError.
export async function* zipEntries(blob) {
  const { start, length, count } = await directory(blob);
  if (length > LARGEST_DIRECTORY || start + length > blob.size) throw new ZipError("zipDamaged");
  const view = await read(blob, start, length);
  let at = 0;
  for (let number = 0; number < count; number++) {
    if (at + 46 > length || view.getUint32(at, true) !== 0x02014b50) throw new ZipError("zipDamaged");
    const entry = entryAt(view, at);
    at += 46 + entry.nameLength + entry.restLength;
    if (!entry.name.endsWith("/")) yield { name: entry.name, size: entry.size, open: () => content(blob, entry) };
  }
}

async function directory(blob) {
  const from = Math.max(0, blob.size - END_BYTES);
  const view = await read(blob, from, blob.size - from);
  let at = view.byteLength - 22;
  while (at >= 0 && view.getUint32(at, true) !== 0x06054b50) at--;
  if (at < 0) throw new ZipError("zipDamaged");
  const short = {
    count: view.getUint16(at + 10, true), length: view.getUint32(at + 12, true), start: view.getUint32(at + 16, true),
  };
  if (short.count !== 0xffff && short.length !== 0xffffffff && short.start !== 0xffffffff) return short;
  if (at < 20 || view.getUint32(at - 20, true) !== 0x07064b50) return short;
  const end = await read(blob, number64(view, at - 20 + 8), 56);
  if (end.getUint32(0, true) !== 0x06064b50) throw new ZipError("zipDamaged");
  return { count: number64(end, 32), length: number64(end, 40), start: number64(end, 48) };
}

function entryAt(view, at) {
  const nameLength = view.getUint16(at + 28, true), extraLength = view.getUint16(at + 30, true);
  const restLength = extraLength + view.getUint16(at + 32, true);
  if (at + 46 + nameLength + restLength > view.byteLength) throw new ZipError("zipDamaged");
  const flags = view.getUint16(at + 8, true);
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength);
  const entry = {
    nameLength, restLength,
    name: new TextDecoder(flags & 0x800 ? "utf-8" : "windows-1252").decode(bytes),
    encrypted: Boolean(flags & 1),
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
    packed: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true),
    start: view.getUint32(at + 42, true),
  };
  readZip64(view, at + 46 + nameLength, extraLength, entry);
  return entry;
}

function readZip64(view, start, length, entry) {
  for (let at = start; at + 4 <= start + length; ) {
    const size = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1) {
      let value = at + 4;
      for (const name of ["size", "packed", "start"]) {
        if (entry[name] === 0xffffffff && value + 8 <= at + 4 + size) {
          entry[name] = number64(view, value);
          value += 8;
        }
      }
      return;
    }
    at += 4 + size;
  }
}

async function content(blob, entry) {
  if (entry.encrypted) throw new ZipError("zipEncrypted");
  if (entry.method !== STORED && entry.method !== DEFLATED) throw new ZipError("zipMethod");
  if (entry.size > LARGEST_ENTRY) throw new ZipError("zipTooLarge");
  const head = await read(blob, entry.start, 30);
  if (head.getUint32(0, true) !== 0x04034b50) throw new ZipError("zipDamaged");
  const start = entry.start + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = blob.slice(start, start + entry.packed);
  const plain = entry.method === STORED ? packed.stream() : packed.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return collect(plain, entry);
}

// The bytes of a stream that must have the size and the checksum of its entry; it is left as soon as it has more.
async function collect(stream, entry) {
  const reader = stream.getReader(), pieces = [];
  let chunks = [], held = 0, size = 0, crc = -1;
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.length;
      if (size > entry.size) throw new ZipError("zipDamaged");
      crc = updateCrc(crc, next.value);
      chunks.push(next.value);
      held += next.value.length;
      if (held >= PIECE_BYTES) {
        pieces.push(new Blob(chunks));
        chunks = [];
        held = 0;
      }
    }
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error instanceof ZipError ? error : new ZipError("zipDamaged");
  }
  if (size !== entry.size || (crc ^ -1) >>> 0 !== entry.crc) throw new ZipError("zipDamaged");
  return new Blob([...pieces, ...chunks]);
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function updateCrc(crc, bytes) {
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[at]) & 0xff];
  return crc;
}

async function read(blob, start, length) {
  if (start < 0 || start + length > blob.size) throw new ZipError("zipDamaged");
  return new DataView(await blob.slice(start, start + length).arrayBuffer());
}

function number64(view, at) {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32; // exact up to 8 petabytes
}
