// Tables of class "sortable": a click on a heading, Enter or Space sort by that column. The text of the headings, the
// rows and their order without a script are the page's own.
"use strict";
(() => {
  const MISSING = new Set(["", "–", "nan"]);

  function valueOf(row, column) {
    const cell = row.cells[column];
    const text = (cell.dataset.sort ?? cell.textContent).trim();
    if (MISSING.has(text.toLowerCase())) return null;
    const number = Number(text);
    return Number.isNaN(number) ? text : number;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  function sortBy(table, heading, direction) {
    const body = table.tBodies[0];
    const sign = direction === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row) => ({ row, value: valueOf(row, heading.cellIndex) }));
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
      return sign * compare(a.value, b.value);
    });
    body.append(...rows.map((entry) => entry.row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
  }

  function firstDirection(table, heading) {
    const numeric = Array.from(table.tBodies[0].rows, (row) => valueOf(row, heading.cellIndex));
    return numeric.some((value) => typeof value === "number") ? "descending" : "ascending"; // large figures first
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    if (!table.tHead || !table.tBodies.length) continue;
    for (const heading of table.tHead.rows[0].cells) {
      if (heading.classList.contains("plain")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const opposite = { ascending: "descending", descending: "ascending" };
        sortBy(table, heading, opposite[heading.getAttribute("aria-sort")] ?? firstDirection(table, heading));
      });
    }
  }
})();
