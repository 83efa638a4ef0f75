// The head of a DICOM file (PS3.10 Section 7.1): whether it is one, and its SOP Instance UID.

const HEAD_BYTES = 4096; // usually the whole File Meta Information
const MEDIA_STORAGE_SOP_INSTANCE_UID = 0x0003;
const LONG_VRS = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);

// The SOP Instance UID that the head of a file names, "" if it names none; null for a file that is not DICOM.
export async function sopInstanceUid(blob) {
  const bytes = new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer());
  if (ascii(bytes, 128, 132) !== "DICM") return null;
  return uidIn(bytes, new DataView(bytes.buffer));
}

function uidIn(bytes, view) {
  let at = 132;
  while (at + 8 <= bytes.length && view.getUint16(at, true) === 2) {
    const element = view.getUint16(at + 2, true);
    const long = LONG_VRS.has(ascii(bytes, at + 4, at + 6));
    if (long && at + 12 > bytes.length) break;
    const length = long ? view.getUint32(at + 8, true) : view.getUint16(at + 6, true);
    const start = at + (long ? 12 : 8);
    if (element === MEDIA_STORAGE_SOP_INSTANCE_UID) return ascii(bytes, start, start + length).replace(/[\0 ]+$/, "");
    at = start + length;
  }
  return "";
}

function ascii(bytes, start, stop) {
  return String.fromCharCode(...bytes.subarray(start, Math.min(stop, start + 256)));
}
