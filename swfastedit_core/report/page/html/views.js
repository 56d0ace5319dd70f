// Names of the views of the turning projection, and where a sphere in the patient is in the pictures.
"use strict";
const patientViews = (() => {
  const STRAIGHT = ["Anterior view", "Left lateral view", "Posterior view", "Right lateral view"];
  const OBLIQUE = [
    "Left anterior oblique", "Left posterior oblique", "Right posterior oblique", "Right anterior oblique",
  ];

  function name(view, views) {
    const quarter = views / 4;
    return `${(view % quarter ? OBLIQUE : STRAIGHT)[Math.floor(view / quarter)]}, ${(view * 360) / views}°`;
  }

  // The letters of patient sides at the two ends of a row: left or right, front or back, or both.
  function sideLetters(view, views) {
    const angle = (2 * Math.PI * view) / views;
    const parts = [[Math.cos(angle), "R", "L"], [Math.sin(angle), "A", "P"]];
    parts.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
    const kept = parts.filter(([part]) => Math.abs(part) > 0.38);
    const letters = (sign) => kept.map(([part, low, high]) => (part * sign > 0 ? high : low)).join("");
    return [letters(-1), letters(1)];
  }

  // A sphere as circles in pixels of a picture; none where a slice does not meet it.
  function sphereOnMip(sphere, view, mip) {
    const angle = (2 * Math.PI * view) / mip.views;
    const across = sphere.left * Math.cos(angle) + sphere.back * Math.sin(angle);
    const [height, width] = mip.pixel_mm;
    return [{
      x: mip.columns / 2 + across / width, y: mip.rows - 0.5 - sphere.up / height,
      across: sphere.radius_mm / width, down: sphere.radius_mm / height,
    }];
  }

  function sphereOnSlice(sphere, slice, slices) {
    const away_mm = (slice - sphere.height) * slices.step_mm;
    if (Math.abs(away_mm) >= sphere.radius_mm) return [];
    const radius_mm = Math.sqrt(sphere.radius_mm ** 2 - away_mm ** 2);
    const [height, width] = slices.pixel_mm;
    return [{ x: sphere.column, y: sphere.row, across: radius_mm / width, down: radius_mm / height }];
  }

  return { name, sideLetters, sphereOnMip, sphereOnSlice };
})();
