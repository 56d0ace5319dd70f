// Starts NiiVue when its section comes into view. The canvas gets data-state: "starting", "drawn" or "failed".
"use strict";
(() => {
  const canvas = document.getElementById("viewer-canvas");
  const place = document.getElementById("viewer-place");
  const settings = JSON.parse(document.getElementById("viewer-settings").textContent);
  const views = Array.from(document.querySelectorAll("#viewer-buttons [data-view]"));
  const constant = (value, count) => Array(count).fill(value);
  // Colours at the given steps of 0 to 255. Slices use the colours alone; the 3D view the opacity, too: there, low SUV
  // is clear, so that lesions inside of the body can be seen.
  const STEPS = [0, 12, 40, 130, 255];
  const INVERTED = { R: STEPS.map((step) => 255 - step), A: [0, 0, 3, 12, 90], I: STEPS };
  INVERTED.G = INVERTED.B = INVERTED.R;
  const RED = { R: constant(214, 3), G: constant(39, 3), B: constant(40, 3), A: [0, 255, 255], I: [0, 1, 255] };

  function describe(location) {
    const [pet, lesion] = location.values.map((entry) => entry.value);
    const parts = [`SUV ${pet >= settings.high ? `${settings.high} or more` : pet.toFixed(1)}`];
    if (lesion > 0) parts.push(`lesion ${Math.round(lesion)}`);
    place.textContent = parts.join(", ");
  }

  async function load(viewer, id, { low, high, ...options }) {
    const base64 = document.getElementById(id).textContent;
    if (!base64) return;
    const volume = await niivue.NVImage.loadFromBase64({ base64, name: `${id}.nii.gz`, ...options });
    volume.cal_min = low; // as options, they would be limited to the values that occur
    volume.cal_max = high;
    viewer.addVolume(volume);
  }

  function connect(viewer) {
    const types = {
      multiplanar: viewer.sliceTypeMultiplanar,
      axial: viewer.sliceTypeAxial,
      coronal: viewer.sliceTypeCoronal,
      sagittal: viewer.sliceTypeSagittal,
      render: viewer.sliceTypeRender,
    };
    for (const button of views) {
      button.addEventListener("click", () => {
        viewer.setSliceType(types[button.dataset.view]);
        for (const other of views) other.setAttribute("aria-pressed", String(other === button));
      });
    }
    const mask = document.getElementById("viewer-mask");
    mask?.addEventListener("click", () => {
      const shown = mask.getAttribute("aria-pressed") !== "true";
      mask.setAttribute("aria-pressed", String(shown));
      viewer.setOpacity(1, shown ? 0.6 : 0);
    });
    // A click on a lesion's number or row anywhere in the page moves the cross to the lesion's hottest cell.
    document.addEventListener("click", (event) => {
      const lesion = event.target.closest?.("[data-lesion]")?.dataset.lesion;
      const place_mm = settings.spots[lesion];
      if (!place_mm) return;
      viewer.scene.crosshairPos = viewer.mm2frac(place_mm, 0, true); // by the affine, also of an oblique grid
      viewer.createOnLocationChange();
      viewer.drawScene();
    });
  }

  async function start() {
    canvas.dataset.state = "starting";
    const viewer = new niivue.Niivue({
      backColor: [1, 1, 1, 1],
      crosshairColor: [0.04, 0.36, 0.68, 0.8],
      fontColor: [0.1, 0.1, 0.1, 1],
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      logLevel: "error",
      multiplanarLayout: 2, // two rows
      multiplanarShowRender: 1, // always
      scrollRequiresFocus: true,
      show3Dcrosshair: true,
    });
    viewer.onLocationChange = describe;
    await viewer.attachToCanvas(canvas);
    viewer.addColormap("inverted", INVERTED);
    viewer.addColormap("lesions", RED);
    await load(viewer, "viewer-pet", { colormap: "inverted", low: settings.low, high: settings.high });
    await load(viewer, "viewer-lesions", { colormap: "lesions", opacity: 0.6, low: 0.5, high: 1 });
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.setRenderAzimuthElevation(180, 5); // from the front
    connect(viewer);
    viewer.drawScene();
    canvas.dataset.state = "drawn";
  }

  function fail(reason) {
    canvas.dataset.state = "failed";
    place.textContent = reason;
    for (const button of document.querySelectorAll("#viewer-buttons button")) button.disabled = true;
  }

  function startOrFail() {
    if (!document.createElement("canvas").getContext("webgl2")) {
      fail("This browser draws no 3D here (WebGL 2 is off or not supported). The rest of the page works without it.");
      return;
    }
    start().catch((error) => fail(`The viewer cannot be shown: ${error.message ?? error}`));
  }

  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    startOrFail();
  }, { rootMargin: "200px" });
  observer.observe(canvas);
})();
