// The pictures of a report: the projection that turns, the slices, and the lesion that is marked in all of them.
"use strict";
(async () => {
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("report-data").textContent);
  const { mip, slices } = data;
  const lesions = new Map(data.lesions.map((lesion) => [lesion.number, lesion]));
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const state = { view: 0, slice: data.lesions[0]?.slice ?? Math.floor(slices.count / 2), marked: 0, timer: 0, liver: false };
  const stage = element("stage");
  const runs = { mip: pictures.decodeRuns(mip.runs), slices: pictures.decodeRuns(slices.runs) };
  const shown = { mip: null, slice: null };
  const sprites = { mip: await pictures.load(mip.sprite), slices: new Map() };
  const checked = (id) => element(id)?.checked ?? false;

  function drawMip() {
    const half = mip.views / 2;
    const index = state.view % half;
    const mirrored = state.view >= half;
    const canvas = element("mip");
    shown.mip = pictures.lesionPixels(runs.mip, index, mip.rows, mip.columns, mirrored);
    const tile = {
      x: (index % mip.across) * mip.columns, y: Math.floor(index / mip.across) * mip.rows,
      columns: mip.columns, rows: mip.rows,
    };
    const up = mip.slice_up_mm[0] + state.slice * mip.slice_up_mm[1];
    const line = mip.rows - 0.5 - up / mip.pixel_mm[0];
    const circles = state.liver ? patientViews.sphereOnMip(data.liver, state.view, mip) : [];
    const options = { mirrored, marked: state.marked, line, circles };
    pictures.draw(canvas, sprites.mip, tile, checked("outline-toggle") ? shown.mip : null, options);
    const count = lesionNumbers.place(shown.mip, canvas, state.marked, checked("number-toggle"));
    const some = checked("number-toggle") && count < lesions.size;
    element("number-note").textContent = some ? `${count} of ${lesions.size} numbers have room here` : "";
    canvas.dataset.view = state.view;
    canvas.dataset.ready = "true";
    canvas.setAttribute("aria-valuenow", (state.view * 360) / mip.views);
    canvas.setAttribute("aria-valuetext", patientViews.name(state.view, mip.views));
    element("view-name").textContent = patientViews.name(state.view, mip.views);
    [element("side-start").textContent, element("side-end").textContent] = patientViews.sideLetters(state.view, mip.views);
  }

  async function drawSlice() {
    const slice = state.slice;
    const perSprite = slices.across * slices.down;
    const index = Math.floor(slice / perSprite);
    if (!sprites.slices.has(index)) sprites.slices.set(index, pictures.load(slices.sprites[index]));
    const image = await sprites.slices.get(index);
    if (slice !== state.slice) return; // a later slice was asked for meanwhile
    const place = slice % perSprite;
    const tile = {
      x: (place % slices.across) * slices.columns, y: Math.floor(place / slices.across) * slices.rows,
      columns: slices.columns, rows: slices.rows,
    };
    const canvas = element("slice");
    shown.slice = pictures.lesionPixels(runs.slices, slice, slices.rows, slices.columns, false);
    const circles = state.liver ? patientViews.sphereOnSlice(data.liver, state.slice, slices) : [];
    const options = { marked: state.marked, filled: true, circles };
    pictures.draw(canvas, image, tile, checked("mask-toggle") ? shown.slice : null, options);
    const mm = slices.first_mm + slice * slices.step_mm;
    const numbers = Array.from(shown.slice.boxes.keys()).sort((a, b) => a - b);
    const lesionText = numbers.length ? `, lesion${numbers.length > 1 ? "s" : ""} ${numbers.slice(0, 12).join(", ")}` : "";
    const text = `Slice ${slice + 1} of ${slices.count}, ${Math.abs(mm).toFixed(1)} mm ${mm < 0 ? "I" : "S"}`;
    element("slice-name").textContent = text + lesionText + (numbers.length > 12 ? " …" : "");
    canvas.setAttribute("aria-label", `Axial slice: ${text}${lesionText}`);
    canvas.dataset.slice = slice;
    canvas.dataset.ready = "true";
    const input = element("slice-position");
    input.value = slice;
    input.setAttribute("aria-valuetext", text + lesionText);
  }

  function setView(view) {
    const next = ((view % mip.views) + mip.views) % mip.views;
    if (next === state.view) return; // a pointer moves many times within a view
    state.view = next;
    drawMip();
  }

  function setSlice(slice) {
    state.slice = Math.min(Math.max(slice, 0), slices.count - 1);
    drawSlice();
    drawMip(); // its line shows the slice
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = 0;
    element("play").textContent = "Play";
  }

  function play() {
    if (state.timer) {
      stop();
      return;
    }
    state.timer = setInterval(() => setView(state.view + 1), 120);
    element("play").textContent = "Pause";
  }

  function turnTo(view) {
    stop();
    const half = mip.views / 2;
    const away = ((view - state.view + half + mip.views) % mip.views) - half;
    if (calm.matches || !away) {
      setView(view);
      return;
    }
    let left = Math.abs(away);
    state.timer = setInterval(() => {
      setView(state.view + Math.sign(away));
      left -= 1;
      if (!left) stop();
    }, 30);
  }

  // A lesion that is marked already is released. `keep` names the picture that stays as it is.
  function mark(number, { keep = "" } = {}) {
    const lesion = number === state.marked ? undefined : lesions.get(number);
    state.marked = lesion ? number : 0;
    lesionNumbers.press(state.marked);
    lesionRows.mark(state.marked, { scroll: keep !== "table" });
    element("marked").textContent = lesion ? `Lesion ${number}: ${lesion.text}` : "No lesion is marked.";
    if (lesion) {
      turnTo(lesion.view);
    } else {
      stop();
    }
    setSlice(lesion && keep !== "slice" ? lesion.slice : state.slice);
  }

  function showStage() {
    const { top, bottom } = stage.getBoundingClientRect();
    if (bottom > 120 && top < window.innerHeight - 120) return;
    stage.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
  }

  function connectDrag() {
    let from = null;
    let dragged = false;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button || !event.isPrimary) return; // a second finger zooms
      dragged = false;
      from = { x: event.clientX, view: state.view };
    });
    stage.addEventListener("pointermove", (event) => {
      if (!event.buttons) from = null; // released outside, before the drag began
      if (!from || !event.isPrimary) return;
      const moved = event.clientX - from.x;
      if (!dragged && Math.abs(moved) < 5) return;
      if (!dragged) {
        dragged = true;
        stop();
        stage.setPointerCapture(event.pointerId);
        stage.classList.add("dragged");
      }
      const pixels = Math.max(element("mip").clientWidth, 200) / (mip.views / 2); // the width is half a turn
      setView(from.view - Math.round(moved / pixels));
    });
    const end = (event) => {
      if (!event.isPrimary) return;
      from = null;
      stage.classList.remove("dragged");
      setTimeout(() => { dragged = false; }); // after the click that ends the drag, if there is one
    };
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, end);
    stage.addEventListener("click", (event) => { // the end of a drag is no click
      if (dragged) event.stopPropagation();
    }, { capture: true });
    element("mip").addEventListener("click", (event) => {
      const number = pictures.lesionAt(shown.mip, element("mip"), event);
      if (number) mark(number);
    });
  }

  function connectKeys() {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: mip.views / 4, PageDown: -mip.views / 4 };
    element("mip").addEventListener("keydown", (event) => {
      if (!(event.key in steps) && event.key !== "Home") return;
      event.preventDefault();
      stop();
      setView(event.key === "Home" ? 0 : state.view + steps[event.key]);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && state.marked) mark(state.marked);
    });
  }

  function connectControls() {
    element("play").hidden = calm.matches;
    calm.addEventListener("change", () => {
      stop();
      element("play").hidden = calm.matches;
    });
    element("play").addEventListener("click", play);
    element("turn-back").addEventListener("click", () => { stop(); setView(state.view - 1); });
    element("turn-on").addEventListener("click", () => { stop(); setView(state.view + 1); });
    for (const id of ["outline-toggle", "number-toggle"]) element(id)?.addEventListener("change", drawMip);
    element("mask-toggle")?.addEventListener("change", drawSlice);
    element("slice-position").addEventListener("input", (event) => setSlice(Number(event.target.value)));
    element("show-liver")?.addEventListener("click", () => {
      state.liver = !state.liver;
      element("show-liver").setAttribute("aria-pressed", String(state.liver));
      if (state.liver) turnTo(0);
      setSlice(state.liver ? data.liver.slice : state.slice);
      if (state.liver) showStage();
    });
    let wheel = 0;
    element("slice").addEventListener("wheel", (event) => {
      event.preventDefault();
      wheel += event.deltaMode ? event.deltaY * 30 : event.deltaY;
      const steps = Math.trunc(wheel / 30);
      if (!steps) return;
      wheel -= steps * 30;
      setSlice(state.slice - Math.sign(steps) * Math.min(Math.abs(steps), 4));
    }, { passive: false });
    element("slice").addEventListener("click", (event) => {
      const number = shown.slice && pictures.lesionAt(shown.slice, element("slice"), event);
      if (number) mark(number, { keep: "slice" });
    });
  }

  lesionNumbers.makeButtons(data.lesions, (number) => mark(number));
  if (lesions.size) element("marked").textContent = "Click a number, a lesion or a row to mark it.";
  lesionRows.connect((number) => {
    mark(number, { keep: "table" });
    if (state.marked) showStage();
  });
  connectDrag();
  connectKeys();
  connectControls();
  const observer = new ResizeObserver(() => { drawMip(); drawSlice(); });
  observer.observe(stage);
  observer.observe(element("slice-stage"));
  setSlice(state.slice);
})().catch((error) => {
  document.documentElement.classList.remove("js"); // shows the static picture instead
  throw error;
});
