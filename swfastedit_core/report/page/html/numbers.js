// The numbers of lesions on the turning projection: buttons beside the lesions, with lines to them.
"use strict";
const lesionNumbers = (() => {
  const HEIGHT = 24;
  const DISTANCES = [8, 20, 36, 56];
  const DIRECTIONS = 12;
  const MOST = 300; // lesions that get a place: with more, there is no room, and the search takes long
  const IN_TAB_ORDER = 25; // with more lesions, the buttons of the table are enough for the keyboard
  const layer = document.getElementById("numbers");
  const buttons = new Map();
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const lines = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("aria-hidden", "true");
  Object.assign(svg.style, { position: "absolute", inset: "0", width: "100%", height: "100%" });
  Object.assign(lines.style, { stroke: "var(--lesion)", strokeWidth: "1px", fill: "none" });
  svg.append(lines);
  layer.append(svg);

  function makeButtons(lesions, onClick) {
    for (const { number } of lesions) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "lesion";
      button.dataset.lesion = number;
      button.textContent = number;
      button.setAttribute("aria-label", `Lesion ${number}`);
      button.setAttribute("aria-pressed", "false");
      if (lesions.length > IN_TAB_ORDER) button.tabIndex = -1;
      button.hidden = true;
      button.addEventListener("click", () => onClick(number));
      layer.append(button);
      buttons.set(number, button);
    }
  }

  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

  // The nearest place beside a lesion that covers nothing; the side away from the middle comes first.
  function placeBeside(box, width, frame, taken) {
    const x = (box.left + box.right) / 2;
    const y = (box.top + box.bottom) / 2;
    const outwards = x >= (frame.left + frame.right) / 2 ? 0 : Math.PI;
    for (const distance of DISTANCES) {
      for (let turn = 0; turn < DIRECTIONS; turn += 1) {
        const step = (turn % 2 ? 1 : -1) * Math.ceil(turn / 2);
        const angle = outwards + (2 * Math.PI * step) / DIRECTIONS;
        const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
        const startX = x + ((box.right - box.left) / 2) * cosine;
        const startY = y + ((box.bottom - box.top) / 2) * sine;
        const centreX = startX + (distance + width / 2) * cosine;
        const centreY = startY + (distance + HEIGHT / 2) * sine;
        const place = {
          left: centreX - width / 2, right: centreX + width / 2,
          top: centreY - HEIGHT / 2, bottom: centreY + HEIGHT / 2,
        };
        const inside = place.left >= 0 && place.top >= 0 && place.right <= frame.width && place.bottom <= frame.height;
        if (inside && !taken.some((other) => meet(place, other))) return { ...place, centreX, centreY, startX, startY };
      }
    }
    return null;
  }

  // The first point of a lesion on the way through the middle of its box, so that a line ends at the lesion. In pixels
  // of the picture; the start itself if the lesion is not met.
  function meetLesion(lesions, number, start, middle) {
    const [wayX, wayY] = [2 * (middle.x - start.x), 2 * (middle.y - start.y)];
    const steps = Math.ceil(2 * Math.hypot(wayX, wayY));
    for (let step = 0; step <= steps; step += 1) {
      const [x, y] = [start.x + (wayX * step) / (steps || 1), start.y + (wayY * step) / (steps || 1)];
      if (lesions.pixels[(Math.floor(y) + 1) * lesions.width + Math.floor(x) + 1] === number) return { x, y };
    }
    return start;
  }

  // Puts numbers beside the lesions, those of large lesions first, the marked one before all. Returns how many.
  function place(lesions, canvas, marked, visible) {
    const frame = {
      left: canvas.offsetLeft, right: canvas.offsetLeft + canvas.clientWidth,
      width: layer.clientWidth, height: layer.clientHeight,
    };
    const across = canvas.clientWidth / lesions.columns;
    const down = canvas.clientHeight / lesions.rows;
    const places = new Map(Array.from(lesions.boxes, ([number, box]) => [number, {
      left: canvas.offsetLeft + box.left * across, right: canvas.offsetLeft + box.right * across,
      top: canvas.offsetTop + box.top * down, bottom: canvas.offsetTop + box.bottom * down,
    }]));
    const taken = Array.from(places.values());
    const path = [];
    const order = [marked, ...Array.from(buttons.keys()).filter((number) => number !== marked)];
    let [count, tried] = [0, 0];
    for (const number of order) {
      const button = buttons.get(number);
      if (!button) continue;
      const box = visible && tried < MOST ? places.get(number) : undefined;
      if (box) tried += 1;
      const width = 12 + 8 * Math.max(2, String(number).length);
      const spot = box && placeBeside(box, width, frame, taken);
      button.hidden = !spot;
      if (!spot) continue;
      count += 1;
      taken.push(spot);
      button.style.left = `${spot.centreX}px`;
      button.style.top = `${spot.centreY}px`;
      const endX = Math.min(Math.max(spot.startX, spot.left), spot.right);
      const endY = Math.min(Math.max(spot.startY, spot.top), spot.bottom);
      const lesion = lesions.boxes.get(number);
      const start = meetLesion(
        lesions, number,
        { x: (spot.startX - canvas.offsetLeft) / across, y: (spot.startY - canvas.offsetTop) / down },
        { x: (lesion.left + lesion.right) / 2, y: (lesion.top + lesion.bottom) / 2 },
      );
      const [startX, startY] = [canvas.offsetLeft + start.x * across, canvas.offsetTop + start.y * down];
      path.push(`M${startX} ${startY}L${endX} ${endY}`);
    }
    lines.setAttribute("d", path.join(""));
    return count;
  }

  function press(number) {
    for (const [other, button] of buttons) button.setAttribute("aria-pressed", String(other === number));
  }

  return { makeButtons, meetLesion, place, press };
})();
