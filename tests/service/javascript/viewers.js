// Other viewers, as far as they are packages: dwv, and dicom-microscopy-viewer, which is the engine of Slim.
import * as dwv from "dwv";
import { api } from "dicomweb-client";

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

// The pixels of an instance as dwv decodes them, before any window.
const withDwv = (url) =>
  new Promise((resolve, reject) => {
    document.body.innerHTML = '<div id="layers" style="width: 256px; height: 256px"></div>';
    const app = new dwv.App();
    app.init({ dataViewConfigs: { "*": [{ divId: "layers" }] } });
    app.addEventListener("error", (event) => reject(event.error ?? new Error("dwv could not load it")));
    app.addEventListener("load", (event) => {
      const image = app.getData(event.dataid).image;
      const buffer = image.getBuffer();
      resolve({
        type: buffer.constructor.name,
        pixels: base64(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)),
      });
    });
    app.loadURLs([url], { requestHeaders: [{ name: "Accept", value: "application/dicom" }] });
  });

// Draws a slide with the engine of Slim.
const withSlim = async (root, study, series) => {
  await import("./static/js/dicomMicroscopyViewer.min.js");
  const slim = window.dicomMicroscopyViewer;
  document.body.innerHTML = '<div id="slide" style="width: 600px; height: 400px"></div>';
  const client = new api.DICOMwebClient({ url: root });
  const found = await client.retrieveSeriesMetadata({ studyInstanceUID: study, seriesInstanceUID: series });
  const images = found.map((metadata) => new slim.metadata.VLWholeSlideMicroscopyImage({ metadata }));
  const volume = images.filter((image) => image.ImageType[2] === "VOLUME");
  const viewer = new slim.viewer.VolumeImageViewer({ client, metadata: volume, controls: [] });
  viewer.render({ container: document.getElementById("slide") });
  return volume.length;
};

window.client = { withDwv, withSlim };
