"use strict";

/* The page is whole without this: tables are tables, and the mark of a record is a link to its row under Provenance. */

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const made = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

/* Sorting: by click, Enter or Space on a heading; up, down, and back to the order of the report. */

const SECONDS = { h: 3600, min: 60, s: 1 };

function numberIn(text) {
  const middle = text.replace(/ \(.*/, "").replaceAll(",", ""); // of `10 s (5 s–16 s)`, and of `5,000`
  const times = [...middle.matchAll(/(\d+) (h|min|s)\b/g)];
  if (times.length) return times.reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
  return parseFloat(middle.replace("−", "-").replace(/^[^\d.-]+/, ""));
}

function keyOf(row, column, numeric) {
  const cell = row.cells[column];
  if (cell.classList.contains("absent")) return null;
  const text = cell.dataset.text ?? cell.textContent.trim();
  const key = numeric ? numberIn(text) : text.toLowerCase();
  return Number.isNaN(key) ? null : key;
}

function compare([one], [other]) {
  if (one === null || other === null) return (one === null) - (other === null);
  return typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
}

function sortBy(table, heading, order) {
  const body = table.tBodies[0];
  const column = heading.cellIndex, numeric = heading.classList.contains("number");
  const turns = { none: "ascending", ascending: "descending", descending: "none" };
  const turn = turns[heading.getAttribute("aria-sort") ?? "none"];
  for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
  if (turn === "none") return body.append(...order);
  heading.setAttribute("aria-sort", turn);
  const keyed = order.map((row) => [keyOf(row, column, numeric), row]);
  const sign = turn === "ascending" ? 1 : -1;
  keyed.sort((a, b) => (a[0] === null || b[0] === null ? compare(a, b) : sign * compare(a, b)));
  body.append(...keyed.map(([, row]) => row));
}

function makeSortable(table) {
  const order = [...table.tBodies[0].rows];
  for (const heading of all("thead th", table)) {
    const button = made("button", { type: "button" }, ...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading, order));
    heading.append(button);
  }
}

/* Filtering: a row stays where it holds every word. */

const FILTERED_FROM = 6;  // rows; fewer are seen at once

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < FILTERED_FROM) return;
  const shown = made("output", { textContent: `${rows.length} rows` });
  const box = made("input", { type: "search", placeholder: "words that a row must hold", autocomplete: "off" });
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = words.length ? `${count} of ${rows.length} rows` : `${rows.length} rows`;
  });
  const region = table.closest(".scroll");
  region.before(made("div", { className: "tools" }, made("label", {}, "Filter ", box), shown));
}

/* Provenance: of the figure that is pointed at or was tapped, and of the mark that has the focus. */

const origin = made("div", { id: "origin", hidden: true });
origin.setAttribute("role", "tooltip");
let pinned = null, waiting = 0, described = null;

function detailsOf(id) {
  const row = document.getElementById(id);
  const headings = row.closest("table").tHead.rows[0].cells;
  const list = made("dl");
  [...row.cells].forEach((cell, index) => {
    if (cell.classList.contains("absent")) return;
    list.append(made("dt", { textContent: headings[index].textContent }), made("dd", { textContent: cell.textContent }));
  });
  return list;
}

function whyAbsent(cell) {
  const note = document.getElementById(`${cell.closest(".scroll").id}-${cell.querySelector("sup").textContent}`);
  return made("dl", {}, made("dt", { textContent: "Why" }), made("dd", { textContent: note.textContent }));
}

/* A cell names its records where they are not the row's own, which the row's first link names. */
function idsOf(element) {
  if (element.matches("a.source")) return [element.hash.slice(1)];
  if (element.dataset.r) return element.dataset.r.split(" ").map((number) => `r${number}`);
  const links = all("th a.source", element.parentElement).map((link) => link.hash.slice(1));
  return element.matches("td") ? links.slice(0, 1) : links;
}

function showOrigin(element) {
  const told = element.matches("td.absent") ? [whyAbsent(element)] : idsOf(element).slice(0, 6).map(detailsOf);
  hideOrigin();
  if (!told.length) return;
  origin.replaceChildren(...told);
  origin.hidden = false;
  described = element;
  described.setAttribute("aria-describedby", "origin");
  const box = element.getBoundingClientRect(), size = origin.getBoundingClientRect();
  const below = box.bottom + 6 + size.height < innerHeight;
  origin.style.top = `${Math.max(6, below ? box.bottom + 6 : box.top - size.height - 6)}px`;
  origin.style.left = `${Math.max(6, Math.min(box.left, innerWidth - size.width - 8))}px`;
}

function hideOrigin() {
  clearTimeout(waiting);
  origin.hidden = true;
  described?.removeAttribute("aria-describedby");
  described = null;
}

const later = (act) => { clearTimeout(waiting); waiting = setTimeout(act, 250); };
const leave = () => { if (!pinned) later(hideOrigin); };
const unpin = () => { pinned = null; hideOrigin(); };
const toldBy = (target) => target.closest("a.source, main tbody td, main tbody th");

function makeOrigins(main) {
  document.body.append(origin);
  origin.addEventListener("pointerenter", () => clearTimeout(waiting));
  origin.addEventListener("pointerleave", leave);
  main.addEventListener("pointerover", (event) => {
    const element = toldBy(event.target);
    if (event.pointerType !== "mouse" || pinned) return;
    if (element) later(() => showOrigin(element)); else leave();
  });
  main.addEventListener("pointerleave", leave);
  main.addEventListener("focusin", (event) => { if (event.target.matches("a.source:focus-visible")) showOrigin(event.target); });
  main.addEventListener("focusout", () => { if (!pinned) hideOrigin(); });
  document.addEventListener("click", (event) => {
    if (origin.contains(event.target)) return;
    const element = toldBy(event.target);
    const again = element === pinned;
    unpin();
    if (!element || again || getSelection().toString()) return;
    if (element.matches("a.source") && !event.ctrlKey && !event.metaKey) event.preventDefault();
    showOrigin(element);
    pinned = element;
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") unpin(); });
  document.addEventListener("scroll", (event) => { if (event.target !== origin) unpin(); }, { capture: true, passive: true });
}

/* Charts: drawn already; Vega comes out of its box when the first of them is asked to answer the pointer. */

let vega = null;

async function unpacked(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function loadVega() {
  document.head.append(made("script", { textContent: await unpacked(document.getElementById("vega")) }));
  return globalThis.vegaEmbed;
}

async function enliven(figure, button) {
  button.disabled = true;
  const embed = await (vega ??= loadVega());
  const place = made("div", { className: "live" });
  const drawing = figure.querySelector(".drawing");
  const drawn = [...drawing.childNodes];
  drawing.replaceChildren(place);
  try {
    await embed(place, JSON.parse(figure.querySelector("script").textContent), { ast: true, actions: false, renderer: "svg" });
    drawing.removeAttribute("role");
    button.remove();
  } catch (error) {
    drawing.replaceChildren(...drawn);
    throw error;
  }
}

function makeLive(figure) {
  const button = made("button", { type: "button", textContent: "Make it interactive" });
  button.addEventListener("click", () => enliven(figure, button));
  figure.append(button);
}

/* The picks: folded on a narrow screen, and links land below them. */

function makeHeader() {
  const header = document.querySelector("header");
  const measure = () => document.documentElement.style.setProperty("--head", `${header.offsetHeight + 8}px`);
  if (matchMedia("(max-width: 40rem)").matches) for (const details of all("details", header)) details.open = false;
  let folded = [];
  addEventListener("beforeprint", () => { for (const details of folded = all("details:not([open])")) details.open = true; });
  addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
  new ResizeObserver(measure).observe(header);
  measure();
}

const tables = all("main table");
for (const table of tables) { makeSortable(table); makeFilterable(table); }
makeOrigins(document.querySelector("main"));
if (document.getElementById("vega") && "DecompressionStream" in globalThis) all("figure:has(script)").forEach(makeLive);
makeHeader();
