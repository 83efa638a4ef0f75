// What the tests call in the browser: real clients, their results as JSON, bytes as base64.
import openjph from "@cornerstonejs/codec-openjph";
import * as cornerstone from "@cornerstonejs/core";
import { init as initLoader, wadors } from "@cornerstonejs/dicom-image-loader";
import { api } from "dicomweb-client";

let root;

const base64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
};

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

// The service that all calls go to.
const connect = (url) => {
  root = url;
  cornerstone.init();
  initLoader({ maxWebWorkers: 1, wasmBasePath: "/" });
};

// What a method of dicomweb-client gives, as a list; buffers become base64.
const dicomweb = async (method, options) => {
  const client = new api.DICOMwebClient({ url: root, singlepart: options.singlepart });
  const result = await client[method](options);
  const plain = (value) => (value instanceof ArrayBuffer ? base64(new Uint8Array(value)) : value);
  return [result].flat().map(plain);
};

// What dicom-image-loader needs to know of an image before it can load it.
const describe = async (instance, frame) => {
  const [metadata] = await (await fetch(`${root}${instance}/metadata`)).json();
  metadata["00080060"] ??= { vr: "CS", Value: ["OT"] }; // the loader cannot do without a modality
  const imageId = `wadors:${root}${instance}/frames/${frame}`;
  wadors.metaDataManager.add(`wadors:${root}${instance}/frames/1`, metadata);
  wadors.metaDataManager.add(imageId, metadata);
  return imageId;
};

const decoded = (image) => {
  const pixels = image.getPixelData();
  return {
    rows: image.rows,
    columns: image.columns,
    transferSyntaxUID: image.transferSyntaxUID,
    type: pixels.constructor.name,
    pixels: base64(bytesOf(pixels)),
  };
};

// One image as dicom-image-loader loads and decodes it, before any rescaling.
const image = async (instance, frame) => {
  const imageId = await describe(instance, frame);
  return decoded(await wadors.loadImage(imageId, { preScale: { enabled: false } }).promise);
};

// The same in two steps: from its first `bytes` bytes, then from all of them.
const progressively = async (instance, frame, bytes) => {
  const imageId = await describe(instance, frame);
  const options = { preScale: { enabled: false } };
  const load = async (rangeIndex) => {
    options.retrieveOptions = { rangeIndex, chunkSize: bytes, initialChunkSize: bytes };
    return decoded(await wadors.loadImage(imageId, options).promise);
  };
  return [await load(0), await load(-1)];
};

// The beginning of a stored HTJ2K frame up to byte `end`, decoded by codec-openjph with `level` halvings.
const resolution = async (path, end, level) => {
  const headers = { Accept: "image/jphc", Range: `bytes=0-${end - 1}` };
  const answer = await fetch(root + path, { headers });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const codec = await openjph({ locateFile: (name) => `/${name}` });
  const decoder = new codec.HTJ2KDecoder();
  decoder.getEncodedBuffer(bytes.length).set(bytes);
  decoder.readHeader();
  const size = decoder.calculateSizeAtDecompositionLevel(level);
  decoder.decodeSubResolution(level);
  return {
    status: answer.status,
    contentRange: answer.headers.get("Content-Range"),
    resolutionEnds: answer.headers.get("Resolution-Ends"),
    rows: size.height,
    columns: size.width,
    pixels: base64(decoder.getDecodedBuffer()),
  };
};

window.client = { connect, dicomweb, image, progressively, resolution };
