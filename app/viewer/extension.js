/* An extension of OHIF, which loads it as a module. It sets what OHIF's own configuration has no member for. */
const ID = "dicomweb-service";

function preRegistration() {
  const cornerstone = window.cornerstone;
  if (!cornerstone?.getConfiguration) {
    return; // another build of OHIF
  }
  // OHIF makes seven contexts of WebGL before it shows the first picture. One draws all viewports, one after the other,
  // as the scripts of the page do in any case.
  const { rendering, ...others } = cornerstone.getConfiguration();
  cornerstone.setConfiguration({ ...others, rendering: { ...rendering, webGlContextCount: 1 } });
}

export default { id: ID, preRegistration };
