"""Checks of a page for readers with a screen reader, a keyboard, or weak eyes (WCAG 2.2, levels A and AA)."""

from __future__ import annotations

CHECKS = r"""
() => {
  const faults = [];
  const describe = (element) => `<${element.tagName.toLowerCase()} id="${element.id}" class="${element.className}"> ` +
    (element.textContent || "").trim().slice(0, 40);
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
  const say = (fault, element) => faults.push(`${fault}: ${describe(element)}`);
  const textOf = (ids) => (ids || "").split(/\s+/).filter(Boolean)
    .map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  const nameOf = (element) => (element.getAttribute("aria-label") || "").trim() ||
    textOf(element.getAttribute("aria-labelledby")) ||
    Array.from(element.labels || [], (label) => label.textContent.trim()).join(" ").trim() ||
    (["INPUT", "SELECT", "CANVAS"].includes(element.tagName) ? "" : element.textContent.trim()) ||
    (element.title || "").trim();

  if (!document.documentElement.lang) faults.push("the page has no language");
  if (!document.title.trim()) faults.push("the page has no title");
  if (document.querySelectorAll("main").length !== 1) faults.push("expected one main");
  if (document.querySelectorAll("h1").length !== 1) faults.push("expected one h1");
  const ids = Array.from(document.querySelectorAll("[id]"), (element) => element.id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) faults.push(`two of id ${id}`);
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say("no alt", image);
  for (const element of document.querySelectorAll(
    "button, a[href], input, select, textarea, canvas, [role=region], [role=slider], [role=group], [role=img]"))
    if (!nameOf(element)) say("no name", element);
  for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]"))
    for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls"])
      for (const id of (element.getAttribute(attribute) || "").split(/\s+/).filter(Boolean))
        if (!document.getElementById(id)) say(`${attribute} names ${id}, which is not there`, element);
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!shown(heading)) continue;
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say(`h${next} follows h${level}`, heading);
    if (!heading.textContent.trim()) say("empty heading", heading);
    level = next;
  }
  for (const table of document.querySelectorAll("table"))
    for (const heading of table.querySelectorAll("th")) if (!heading.scope) say("th without scope", heading);
  for (const element of document.querySelectorAll("[tabindex]"))
    if (element.tabIndex > 0) say("tabindex above 0", element);
  for (const box of document.querySelectorAll("*")) {
    const style = getComputedStyle(box);
    const scrolls = shown(box) && /auto|scroll/.test(style.overflowX + style.overflowY) &&
      (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1);
    if (scrolls && box.tabIndex < 0 && box !== document.body && box !== document.documentElement)
      say("scrolls, but not by keyboard", box);
  }

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (front, back) => front.slice(0, 3).map((value, i) => value * front[3] + back[i] * (1 - front[3]));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const background = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const colour = rgba(getComputedStyle(each).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((back, front) => over(front, back), dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !shown(element) || /^(SCRIPT|STYLE|CANVAS|OPTION)$/.test(element.tagName)) continue;
    const style = getComputedStyle(element);
    if (element.closest(":disabled") || element.getBoundingClientRect().width <= 1) continue;
    let opacity = 1;
    for (let each = element; each; each = each.parentElement) opacity *= Number(getComputedStyle(each).opacity);
    const back = background(element);
    const colour = rgba(style.color);
    const front = over([...colour.slice(0, 3), colour[3] * opacity], back);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const found = contrast(front, back);
    texts += 1;
    if (found < least) say(`contrast ${found.toFixed(2)} of ${style.color} on ${back.map(Math.round)}`, element);
  }
  if (!texts) faults.push("no text was checked");
  return faults;
}
"""


def accessibility_faults(page) -> list[str]:
    """Return what is wrong with a page, in words; the page is open in a browser."""
    faults: list[str] = page.evaluate(CHECKS)
    return faults
