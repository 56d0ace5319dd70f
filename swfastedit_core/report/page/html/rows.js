// Rows of the lesion table: a click or the button in the row shows the lesion; the row of the marked lesion stands out.
"use strict";
const lesionRows = (() => {
  const rows = new Map();

  function connect(onClick) {
    for (const row of document.querySelectorAll("#lesions tbody tr")) {
      const number = Number(row.dataset.lesion);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "show-lesion";
      button.textContent = number;
      button.setAttribute("aria-label", `Lesion ${number}: show in the pictures`);
      row.cells[0].replaceChildren(button);
      row.addEventListener("click", (event) => {
        const selects = !window.getSelection().isCollapsed; // the reader copies figures
        if (event.target === button || !selects) onClick(number);
      });
      rows.set(number, row);
    }
  }

  // Scrolls the table only, not the page.
  function scrollTo(row) {
    const box = row.closest(".scroll");
    const top = row.offsetTop - row.closest("table").tHead.offsetHeight;
    if (top < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top;
  }

  function mark(number, { scroll }) {
    for (const [other, row] of rows) {
      row.classList.toggle("marked", other === number);
      if (other === number) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (scroll && rows.has(number)) scrollTo(rows.get(number));
  }

  return { connect, mark };
})();
