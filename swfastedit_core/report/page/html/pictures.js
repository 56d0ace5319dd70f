// Sprites and runs of lesion numbers of the page, drawn on canvases.
"use strict";
const pictures = (() => {
  function integers(text, Type) {
    return new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
  }

  function decodeRuns(runs) {
    const counts = integers(runs.counts, Uint32Array);
    const firsts = new Uint32Array(counts.length + 1);
    counts.forEach((count, index) => { firsts[index + 1] = firsts[index] + count; });
    return {
      firsts,
      starts: integers(runs.starts, Uint32Array),
      lengths: integers(runs.lengths, Uint16Array),
      numbers: integers(runs.numbers, Uint16Array),
    };
  }

  // The lesion number of each pixel of a picture, with one pixel of 0 around, and the box of each lesion.
  function lesionPixels(runs, index, rows, columns, mirrored) {
    const width = columns + 2;
    const pixels = new Uint16Array(width * (rows + 2));
    const boxes = new Map();
    for (let run = runs.firsts[index]; run < runs.firsts[index + 1]; run += 1) {
      const row = Math.floor(runs.starts[run] / columns);
      const length = runs.lengths[run];
      const number = runs.numbers[run];
      let left = runs.starts[run] - row * columns;
      if (mirrored) left = columns - left - length;
      const start = (row + 1) * width + left + 1;
      pixels.fill(number, start, start + length);
      const box = boxes.get(number);
      if (!box) {
        boxes.set(number, { left, top: row, right: left + length, bottom: row + 1 });
      } else {
        box.left = Math.min(box.left, left);
        box.right = Math.max(box.right, left + length);
        box.bottom = row + 1;
      }
    }
    return { pixels, boxes, rows, columns, width };
  }

  // Paths along the outer sides of lesion pixels, in pixels of the picture: of one lesion, and of all others.
  function outlines(lesions, marked) {
    const paths = { marked: new Path2D(), others: new Path2D(), area: new Path2D() };
    const { pixels, width, rows, columns } = lesions;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const at = (row + 1) * width + column + 1;
        const number = pixels[at];
        if (!number) continue;
        paths.area.rect(column, row, 1, 1);
        const path = number === marked ? paths.marked : paths.others;
        const side = (neighbour, x0, y0, x1, y1) => {
          if (pixels[neighbour] === number) return;
          path.moveTo(x0, y0);
          path.lineTo(x1, y1);
        };
        side(at - width, column, row, column + 1, row);
        side(at + width, column, row + 1, column + 1, row + 1);
        side(at - 1, column, row, column, row + 1);
        side(at + 1, column + 1, row, column + 1, row + 1);
      }
    }
    return paths;
  }

  function lesionAt(lesions, canvas, event) {
    const place = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - place.left) / place.width) * lesions.columns);
    const row = Math.floor(((event.clientY - place.top) / place.height) * lesions.rows);
    if (column < 0 || row < 0 || column >= lesions.columns || row >= lesions.rows) return 0;
    return lesions.pixels[(row + 1) * lesions.width + column + 1];
  }

  // Draws a tile of a sprite with lesions over it; the canvas gets as many pixels as the screen has there.
  function draw(canvas, image, tile, lesions, options) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.setTransform(options.mirrored ? -1 : 1, 0, 0, 1, options.mirrored ? canvas.width : 0, 0);
    context.drawImage(image, tile.x, tile.y, tile.columns, tile.rows, 0, 0, canvas.width, canvas.height);
    if (options.line !== undefined) drawLine(context, canvas, options.line / tile.rows, ratio);
    for (const circle of options.circles) drawCircle(context, canvas, circle, tile, ratio);
    if (!lesions) return;
    const style = getComputedStyle(canvas);
    const [colour, markedColour] = ["--lesion", "--marked-lesion"].map((name) => style.getPropertyValue(name));
    const scale = new DOMMatrix([canvas.width / tile.columns, 0, 0, canvas.height / tile.rows, 0, 0]);
    const paths = outlines(lesions, options.marked);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const stroke = (path, strokeStyle, width) => {
      const scaled = new Path2D();
      scaled.addPath(path, scale);
      Object.assign(context, { strokeStyle, lineWidth: width * ratio, lineCap: "round" });
      context.stroke(scaled);
    };
    if (options.filled) {
      const scaled = new Path2D();
      scaled.addPath(paths.area, scale);
      Object.assign(context, { fillStyle: colour, globalAlpha: 0.18 });
      context.fill(scaled);
      context.globalAlpha = 1;
    }
    stroke(paths.others, colour, 1.25);
    stroke(paths.marked, markedColour, 2.5);
    const box = lesions.boxes.get(options.marked);
    if (box) drawRing(context, box, scale, markedColour, ratio);
  }

  function drawLine(context, canvas, part, ratio) {
    const y = Math.round(part * canvas.height) + 0.5;
    context.setLineDash([4 * ratio, 6 * ratio]);
    Object.assign(context, { strokeStyle: "#0059c9", lineWidth: ratio, globalAlpha: 0.6 });
    context.stroke(new Path2D(`M0 ${y}H${canvas.width}`));
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  // A ring around a marked lesion that is too small to be seen at a glance.
  function drawRing(context, box, scale, strokeStyle, ratio) {
    const width = (box.right - box.left) * scale.a;
    const height = (box.bottom - box.top) * scale.d;
    if (Math.max(width, height) > 24 * ratio) return;
    const ring = new Path2D();
    ring.arc(((box.left + box.right) / 2) * scale.a, ((box.top + box.bottom) / 2) * scale.d, 18 * ratio, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle, lineWidth: 1.5 * ratio });
    context.stroke(ring);
  }

  function drawCircle(context, canvas, circle, tile, ratio) {
    const [across, down] = [canvas.width / tile.columns, canvas.height / tile.rows];
    const path = new Path2D();
    path.ellipse(circle.x * across, circle.y * down, circle.across * across, circle.down * down, 0, 0, 2 * Math.PI);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.setLineDash([5 * ratio, 3 * ratio]);
    const strokeStyle = getComputedStyle(canvas).getPropertyValue("--liver");
    Object.assign(context, { strokeStyle, lineWidth: 2 * ratio });
    context.stroke(path);
    context.setLineDash([]);
  }

  async function load(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
  }

  return { decodeRuns, lesionPixels, lesionAt, draw, load };
})();
