"use strict";
// What the page can do with a script: sort a table by a column, search all tables, and show where the reader is.
// Everything is on the page without it.

const tables = [...document.querySelectorAll("table")];

// A heading becomes a button: up, down, and back to the page's own order. What has no value comes last.
for (const table of tables) {
  const body = table.tBodies[0];
  const order = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const next = { ascending: "descending", descending: null }[now] ?? (now ? null : "ascending");
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) heading.setAttribute("aria-sort", next);
      body.append(...(next ? sorted(order, column, next === "ascending" ? 1 : -1) : order));
    });
  });
}

function sorted(rows, column, direction) {
  const numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
  const value = (row) => {
    const cell = row.cells[column];
    if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    return cell.textContent === "–" ? null : cell.textContent;
  };
  const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return [...rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return direction * compare(a, b);
  });
}

// The search keeps the rows that have all its words, and unfolds tables that have such rows.
const form = document.querySelector(".search");
const found = document.querySelector("#found");
const lines = tables.flatMap((table) =>
  [...table.tBodies[0].rows].map((row) => ({ row, part: table.closest(".part"), words: row.textContent.toLowerCase() })),
);
const unfolded = new Set();

function search() {
  const wanted = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const parts = new Map();
  let rows = 0;
  for (const { row, part, words } of lines) {
    const kept = wanted.every((word) => words.includes(word));
    row.hidden = !kept;
    rows += kept;
    parts.set(part, (parts.get(part) ?? 0) + kept);
  }
  for (const [part, kept] of parts) {
    part.classList.toggle("unmatched", !kept);
    const fold = part.querySelector(".fold");
    if (fold && wanted.length && kept && !fold.open) {
      fold.open = true;
      unfolded.add(fold);
    }
  }
  if (!wanted.length) {
    unfolded.forEach((fold) => { fold.open = false; });
    unfolded.clear();
  }
  const hits = [...parts.values()].filter(Boolean).length;
  found.value = wanted.length ? `${rows} of ${lines.length} rows match, in ${hits} tables` : `${lines.length} rows in ${parts.size} tables`;
}

form.hidden = false;
form.addEventListener("input", search);
form.addEventListener("submit", (event) => event.preventDefault());
search();

// The table of contents marks the section that is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (entry.isIntersecting) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  },
  { rootMargin: "-10% 0px -85% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
