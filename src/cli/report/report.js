/* SPDX-License-Identifier: Apache-2.0
   Draws a report from the JSON in the page. What comes out of a model is put in place as text only:
   textContent, labels and CSS numbers; nothing here makes markup of a string. */
"use strict";
(() => {

/* Characters that are not seen, or that turn text around, are shown by their number. */
function visible(key, value) {
  return typeof value !== "string" ? value
    : value.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
      (letter) => "\\u{" + letter.codePointAt(0).toString(16) + "}");
}
const data = JSON.parse(document.getElementById("data").textContent, visible);
const content = data.content;
const nodes = content ? content.nodes : [];
const NARROW = "\u202f", DASH = "\u2013", MINUS = "\u2212";

/* ---- elements ---- */

const tips = new WeakMap();

/* make("td", {class: "n", tip: ["a", "b"], click: f}, child, "text", ...): null children are left out. */
function make(tag, given, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(given || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "tip") tips.set(element, value);
    else if (key === "click") element.addEventListener("click", value);
    else if (key === "v") element.style.setProperty("--v", value.toFixed(4));
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(2))
    if (child !== null && child !== undefined) element.append(child);
  return element;
}

/* Append what there is. */
function put(box, ...children) {
  box.append(...children.filter((child) => child !== null && child !== undefined));
}

function section(id) {
  const found = document.getElementById(id);
  found.hidden = false;
  return { lead: found.querySelector(".lead"), body: found.querySelector(".body") };
}

function table(columns, rows, total) {
  const line = (cells, tag) => make("tr", tag ? { class: tag } : {}, cells.map((cell, i) => {
    const given = { class: columns[i].kind || null };
    return make(i === 0 ? "th" : "td", i === 0 ? { ...given, scope: "row" } : given, cell);
  }));
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, columns.map((column) =>
      make("th", { class: column.kind || null, scope: "col" }, column.name)))),
    make("tbody", {}, rows.map((row) => line(row)), total ? line(total, "total") : null)));
}

function facts(pairs) {
  return make("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined)
    .map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/* ---- numbers ---- */

function count(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, NARROW);
}
function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return (unit === 0 ? String(value) : value.toPrecision(3)) + NARROW + units[unit];
}
function percent(share, places) {
  if (!Number.isFinite(share)) return DASH;
  return (100 * share).toFixed(places === undefined ? 1 : places) + NARROW + "%";
}
function ratio(part, whole) {
  return whole ? percent(part / whole) : DASH;
}
function superscript(power) {
  const digits = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
  return String(power).replace("-", "\u207b").replace(/\d/g, (digit) => digits[digit]);
}
/* A share however small: "12.5 %", "0.031 %", "< 0.0001 %". */
function fine(share) {
  if (!share) return "0" + NARROW + "%";
  if (share >= 0.0995) return percent(share);
  if (share < 1e-6) return "< 0.0001" + NARROW + "%";
  return (100 * share).toPrecision(2) + NARROW + "%";
}
function scientific(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  if (value === 0) return "0";
  return (Math.abs(value) >= 0.001 && Math.abs(value) < 10000)
    ? value.toPrecision(3) : value.toExponential(2).replace(/e\+?(-?\d+)$/, (_, power) => "\u00d710" + superscript(power));
}
function things(number, one, more) {
  return count(number) + " " + (number === 1 ? one : more);
}

/* ---- the tip: by pointer and by keyboard ---- */

const tip = document.getElementById("tip");
function showTip(target, x, y) {
  let element = target;
  while (element && !tips.has(element)) element = element.parentElement;
  if (!element) { tip.hidden = true; return; }
  const lines = tips.get(element);
  tip.replaceChildren(...(typeof lines === "function" ? lines() : lines).filter(Boolean).map((line) => make("div", {}, line)));
  tip.hidden = false;
  const box = element.getBoundingClientRect();
  const left = x === undefined ? box.left + box.width / 2 : x + 14;
  const top = y === undefined ? box.bottom + 8 : y + 18;
  tip.style.left = Math.max(6, Math.min(left, innerWidth - tip.offsetWidth - 6)) + "px";
  tip.style.top = (top + tip.offsetHeight > innerHeight - 6
    ? Math.max(6, (y === undefined ? box.top : y) - tip.offsetHeight - 10) : top) + "px";
}
document.addEventListener("pointermove", (event) => showTip(event.target, event.clientX, event.clientY));
document.addEventListener("pointerleave", () => { tip.hidden = true; });
document.addEventListener("focusin", (event) => {
  if (event.target.matches(":focus-visible")) showTip(event.target);
});
document.addEventListener("focusout", () => { tip.hidden = true; });
document.addEventListener("scroll", () => { tip.hidden = true; }, true);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

/* One stop of the tab key for many elements; the arrows go on from there. `grid`: how many are in a row. */
function rove(box, items, grid) {
  items.forEach((item, i) => { item.tabIndex = i === 0 ? 0 : -1; });
  box.onkeydown = (event) => {
    const at = items.indexOf(document.activeElement);
    if (at < 0) return;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid, ArrowUp: -grid }[event.key];
    let next = null;
    if (step !== undefined && grid) next = items[at + step];
    else if (step !== undefined || /^Arrow/.test(event.key)) next = nearest(items, items[at], event.key);
    else if (event.key === "Home") next = items[0];
    else if (event.key === "End") next = items[items.length - 1];
    if (!next) { if (/^Arrow/.test(event.key)) event.preventDefault(); return; }
    event.preventDefault();
    items[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
}
function nearest(items, from, key) {
  const a = from.getBoundingClientRect();
  let best = null, least = Infinity;
  for (const item of items) {
    if (item === from) continue;
    const b = item.getBoundingClientRect();
    const dx = (b.left + b.width / 2) - (a.left + a.width / 2), dy = (b.top + b.height / 2) - (a.top + a.height / 2);
    const along = { ArrowRight: dx, ArrowLeft: -dx, ArrowDown: dy, ArrowUp: -dy }[key];
    const across = key === "ArrowRight" || key === "ArrowLeft" ? Math.abs(dy) : Math.abs(dx);
    if (along > 1 && along + 2 * across < least) { least = along + 2 * across; best = item; }
  }
  return best;
}

/* Draw anew when a box has another width: in the next frame, for what is drawn may change it again. */
function onWidth(box, draw) {
  let width = box.clientWidth;
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (Math.abs(box.clientWidth - width) < 8) return;
    width = box.clientWidth;
    draw();
  })).observe(box);
}

/* ---- the tree ---- */

nodes.forEach((node, i) => { node.index = i; node.children = []; });
nodes.forEach((node) => { if (node.parent !== null) nodes[node.parent].children.push(node); });
let order = 0;
const pending = nodes.length ? [nodes[0]] : [];
while (pending.length) { /* depth first: the order in which rows are shown */
  const node = pending.pop();
  node.order = order++;
  for (let i = node.children.length - 1; i >= 0; i--) pending.push(node.children[i]);
}
for (let i = nodes.length - 1; i >= 0; i--) { /* children come after their parents: sum upwards */
  const node = nodes[i];
  node.sums = new Map();
  const sumOf = (dtype) => {
    if (!node.sums.has(dtype)) node.sums.set(dtype, { values: 0, counted: 0, unread: 0, floor: 0, tensors: 0, ones: [], weighed: 0, bins: new Map(), binned: 0 });
    return node.sums.get(dtype);
  };
  const add = (sum, one) => {
    ["values", "counted", "unread", "floor", "tensors", "weighed", "binned"].forEach((key) => { sum[key] += one[key]; });
    one.ones.forEach((ones, b) => { sum.ones[b] = (sum.ones[b] || 0) + ones; });
    one.bins.forEach((times, bin) => sum.bins.set(bin, (sum.bins.get(bin) || 0) + times));
  };
  for (const one of node.statistics || []) { /* what was counted of a part stands for all of it */
    const scale = one.counted ? one.values / one.counted : 0, bins = new Map();
    if (one.lowest) bins.set(0, one.lowest * scale);
    (one.bins || []).forEach((times, b) => { if (times) bins.set(one.first_bin + b, times * scale); });
    add(sumOf(one.dtype), { values: one.values, counted: one.counted, unread: one.unread_bytes || 0, floor: one.floor_bytes, tensors: one.tensors,
      ones: one.ones.map((ones) => ones * scale), weighed: one.counted * scale, bins, binned: one.bins ? one.counted * scale : 0 });
  }
  node.children.forEach((child) => child.sums.forEach((sum, dtype) => add(sumOf(dtype), sum)));
  node.floor = 0;
  node.sums.forEach((sum) => { node.floor += sum.floor; });
  if (!node.sums.size) node.floor = null;
  if (data.second) {
    const total = { tensors: {}, elements: 0, differing: 0, unmeasured: 0, max: 0, difference: 0, first: 0 };
    const kinds = ["same", "values", "type", "shape", "layout", "only_first", "unread"];
    const parts = node.children.map((child) => child.changes);
    if (node.change) parts.push({
      tensors: node.change.tensors, elements: node.change.elements, differing: node.change.differing, unmeasured: node.change.unmeasured,
      max: node.change.max_absolute, difference: node.change.difference_norm ** 2, first: node.change.first_norm ** 2,
    });
    for (const part of parts) {
      kinds.forEach((kind) => { total.tensors[kind] = (total.tensors[kind] || 0) + (part.tensors[kind] || 0); });
      total.elements += part.elements; total.differing += part.differing; total.unmeasured += part.unmeasured;
      total.max = Math.max(total.max, part.max || 0);
      total.difference += part.difference || 0; total.first += part.first || 0;
    }
    node.changes = total;
  }
}

/* Where nothing branches, what branches below. */
function branching(node) {
  while (node.children.length === 1 && node.children[0].children.length) node = node.children[0];
  return node;
}
function path(node) {
  const parts = [];
  for (let at = node; at; at = at.parent === null ? null : nodes[at.parent]) parts.unshift(at);
  return parts;
}
function fullName(node) {
  return path(node).slice(1).map((part) => part.name).join(".") || node.name;
}
function leaves() {
  return nodes.filter((node) => !node.children.length && node.bytes);
}

const state = { node: nodes[0] || null, type: null, logarithmic: false, measure: "relative" };
const listeners = [];
function go(node) {
  state.node = node;
  listeners.forEach((listener) => listener());
}

/* ---- head ---- */

function drawHead() {
  const name = data.input.replace(/\/+$/, "").split("/").pop() || data.input;
  document.getElementById("title").textContent = name === "-" ? "standard input" : name;
  document.getElementById("kicker").textContent =
    data.second && content ? "mmh report, compared with " + (data.second.replace(/\/+$/, "").split("/").pop() || data.second) : "mmh report";
  const theme = document.getElementById("theme"), names = ["system", "light", "dark"];
  let at = 0;
  theme.addEventListener("click", () => {
    at = (at + 1) % names.length;
    if (at) document.documentElement.dataset.theme = names[at];
    else delete document.documentElement.dataset.theme;
    theme.textContent = "Colours: " + names[at];
    theme.setAttribute("aria-label", "Colours: " + (at ? names[at] : "as the system has them"));
  });
}

function tile(name, value, note) {
  return [make("dt", {}, name), make("dd", {}, value, note ? make("small", {}, note) : null)];
}

function drawSummary() {
  const box = document.getElementById("summary"), tiles = [];
  const container = data.container;
  if (content) tiles.push(tile("Original", bytes(content.original_bytes), count(content.original_bytes) + NARROW + "B"));
  if (container) {
    tiles.push(tile("Container", bytes(container.stored_bytes), count(container.stored_bytes) + NARROW + "B"));
    if (content) tiles.push(tile("Ratio", ratio(container.stored_bytes, content.original_bytes), "container / original"));
    if (content && content.floor_bytes < content.original_bytes)
      tiles.push(tile("Floor", ratio(content.floor_bytes, content.original_bytes), "entropy of the values"));
  } else if (content) {
    tiles.push(tile("Container", DASH, "not packed: what that saves is not known"));
    const floor = estimatedFloor();
    if (floor !== null) tiles.push(tile("Floor", ratio(floor, content.original_bytes), "estimated from what was counted"));
  }
  if (content) {
    tiles.push(tile("Tensors", count(content.tensors), typeNames().slice(0, 4).join(", ") || null));
    tiles.push(tile("Files", count(content.files), container && container.chunks !== null ? things(container.chunks, "chunk", "chunks") : null));
  }
  box.append(make("dl", { class: "tiles" }, tiles.map((pair) => make("div", {}, pair))));
  const pairs = [];
  if (container && container.format) pairs.push(
    ["Format", container.format.major + "." + container.format.minor + ", level " + container.level + ", " + container.hash],
    ["Written by", container.writer]);
  if (container && container.root) pairs.push(["Identity (root)", make("span", { class: "mono" }, container.root)]);
  if (!container) pairs.push(["Kind", "original files, read as mmh pack would; nothing here was checked against a digest"]);
  box.append(facts(pairs));
}

/* The types of the model, those of the most values first. */
function typeNames() {
  const sums = nodes[0].sums;
  return [...sums.keys()].sort((a, b) => sums.get(b).values - sums.get(a).values);
}

function estimatedFloor() {
  if (!nodes.length || nodes[0].floor === null) return null;
  let rest = 0;
  nodes.forEach((node) => { if (node.kind === "rest" && node.parent === 0) rest += node.bytes; });
  return nodes[0].floor + rest;
}

/* ---- state ---- */

const LAYERS = {
  structure: "header, footers, sections", chunks: "each stored chunk, by its hash", merkle: "chunk list and pages, up to the root",
  aead: "encryption's tags", signature: "as was required", decode: "every chunk decodes", digest: "every original file",
  parity: "recovery area",
};
const RESULTS = { ok: ["right", "good"], wrong: ["wrong", "bad"], absent: ["none", ""], skipped: ["not checked", ""] };

function verdict() {
  const state = data.state, exit = data.exit, lost = state.damaged_chunks > 0;
  if (data.status === "untrusted") return ["bad", "not trusted", "It is not signed as was required. Nothing of its content was used: " + data.message];
  if (data.status === "key") return ["warn", "locked", "It is encrypted, and no key was given that opens it. What is stored was checked as far as that goes without one."];
  if (data.status === "corrupt" && exit === 3)
    return ["warn", "damaged", "Damaged (" + state.mended.join(", ") + "), and every byte can be restored: mmh repair does, and mmh unpack gives back what was packed."];
  if (data.status === "corrupt")
    return ["bad", "damaged", lost
      ? "Damaged: " + things(state.damaged_chunks, "chunk", "chunks") + (content ? ", " + bytes(state.damaged_bytes) + " of " + bytes(content.original_bytes) : "") + " cannot be restored from this file alone."
      : "Damaged: " + data.message];
  return state.quick
    ? ["good", "whole", "Every stored byte has the hash that it should have. Nothing was decoded (--quick)."]
    : ["good", "whole", "Every byte was checked: hashes, decoding, and the digest of every file. Nothing is damaged."];
}

function strength(one) {
  const kinds = one.classical && one.post_quantum ? "hybrid" : one.post_quantum ? "post-quantum" : one.classical ? "classical" : "unknown strength";
  return kinds + (one.nist_category ? ", NIST category " + one.nist_category : one.classical && !one.post_quantum ? ", falls to a quantum computer" : "");
}

function signatureText(one) {
  const key = "key " + one.fingerprint.slice(0, 16) + "\u2026";
  const state = !one.of_this_root ? ["bad", "of another container: it says nothing about this one"]
    : one.result === "right" ? ["good", "right, by a key that was given to this report (--signer)"]
    : one.result === "wrong" ? ["bad", "wrong: the key is one that was given, and it did not sign this"]
    : ["warn", "not checked: it is by none of the keys that were given (--signer says whose is believed)"];
  const extra = [];
  if (one.counter) extra.push("counter " + count(one.counter));
  if (one.time) extra.push("says it is of " + new Date(one.time * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC");
  return make("div", {}, make("span", { class: state[0] }, state[1]), " " + DASH + " " + one.algorithm + " (" + strength(one) + "), ",
    make("span", { class: "mono", tip: ["Fingerprint of the key, as the signature says", one.fingerprint] }, key), extra.length ? "; " + extra.join(", ") : "");
}

function drawState() {
  if (!data.state) return;
  const { body } = section("state"), [kind, word, text] = verdict();
  put(body, make("p", { class: "verdict " + kind }, make("span", { class: "mark" }, word), make("span", {}, text)));
  const guards = data.state.guards_read;
  put(body, facts([
    ["Signatures", !guards ? "could not be read" : data.signatures.length ? data.signatures.map(signatureText) : "not signed: nobody vouches for it"],
    ["Encryption", !guards ? "could not be read" : data.encryption
      ? [data.encryption.aead + ", for " + things(data.encryption.recipients.length, "recipient", "recipients") + ": "
         + data.encryption.recipients.map((one) => one.algorithm === "passphrase" ? "passphrase" : one.algorithm + " (" + strength(one) + ")").join("; "),
         content ? make("div", { class: "warn" }, "This report is not encrypted, and has names and statistics of what is.") : null]
      : "not encrypted: whoever has it can read it"],
    ["Parity", !guards ? "could not be read" : data.parity ? data.parity.percent + NARROW + "%, " + bytes(data.parity.bytes) : "none: damage in a chunk is found, not mended"],
  ]));
  if (data.state.layers.length)
    put(body, make("h3", {}, "Layers, from the outside in"), table(
      [{ name: "layer" }, { name: "what" }, { name: "result" }, { name: "checked", kind: "n" }, { name: "" }],
      data.state.layers.map((layer) => {
        const [result, tone] = RESULTS[layer.result];
        return [layer.name, LAYERS[layer.name] || "", make("span", { class: tone }, result), layer.count ? count(layer.count) : DASH, layer.text];
      })));
  if (data.state.damage.length)
    put(body, make("h3", {}, "What cannot be restored from this file alone"), table(
      [{ name: "file" }, { name: "from byte", kind: "n" }, { name: "bytes", kind: "n" }, { name: "tensors that it hits" }],
      data.state.damage.slice(0, 100).map((range) => [range.file === null ? "a chunk that no file needs" : range.file, count(range.offset), count(range.bytes),
        range.tensors === null ? "too many to look for" : range.tensors.slice(0, 12).join(", ") + (range.tensors.length > 12 ? ", and " + (range.tensors.length - 12) + " more" : "")])),
      data.state.damage.length > 100 || data.state.damage_cut ? make("p", { class: "lead" }, "There is more than is listed: mmh verify -v tells all.") : null);
}

/* ---- treemaps ---- */

function squarify(items, x, y, width, height, total) {
  const places = [];
  let left = items.slice(), area = width * height, scale = total ? area / total : 0;
  while (left.length && width > 0 && height > 0) {
    const side = Math.min(width, height);
    let row = [], sum = 0, worst = Infinity;
    for (const item of left) {
      const grown = sum + item.size * scale;
      const most = Math.max(...[...row, item].map((one) => {
        const cell = one.size * scale, thick = grown / side;
        return Math.max(thick * thick / cell, cell / (thick * thick));
      }));
      if (row.length && most > worst) break;
      row.push(item); sum = grown; worst = most;
    }
    const thick = sum / side;
    let along = 0;
    for (const item of row) {
      const long = item.size * scale / thick;
      places.push(width >= height ? { item, x, y: y + along, width: thick, height: long } : { item, x: x + along, y, width: long, height: thick });
      along += long;
    }
    if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    left = left.slice(row.length);
  }
  return places;
}

/* What is too small to be seen becomes one item. */
function itemsOf(children, area, least) {
  const total = children.reduce((sum, child) => sum + child.bytes, 0);
  const shown = [], small = [];
  for (const child of children) {
    if (!child.bytes) continue;
    (child.bytes / total * area >= least ? shown : small).push(child);
  }
  shown.sort((a, b) => b.bytes - a.bytes || a.order - b.order);
  const items = shown.map((node) => ({ node, size: node.bytes }));
  if (small.length === 1) items.push({ node: small[0], size: small[0].bytes });
  else if (small.length) items.push({ many: small, size: small.reduce((sum, node) => sum + node.bytes, 0) });
  return { items, total };
}

/* paint(node) -> {v, label, lines, hatched}: how strong its colour is, and what is said of it. */
function treemap(map, paint) {
  const view = () => branching(state.node.children.length ? state.node : nodes[state.node.parent === null ? 0 : state.node.parent]);
  const size = { width: 1, height: 1 };
  let chosen = null;
  function cell(place, items, node) {
    const look = paint(node), element = make("button", {
      type: "button", class: "cell" + (look.v > 0.635 ? " strong" : look.v > 0.49 ? " middling" : "") + (look.hatched ? " hatch" : "") + (node === state.node ? " chosen" : ""),
      v: look.v, tip: () => look.lines, "aria-label": look.lines.join(", "),
      click: () => go(node),
    });
    position(element, place);
    if (place.width > 34 && place.height > 15) element.append(make("span", {}, node.name));
    if (place.width > 44 && place.height > 31) element.append(make("span", { class: "part" }, look.label));
    map.append(element);
    items.push(element);
    if (node === state.node) chosen = element;
  }
  function position(element, place) {
    const part = (value, whole) => 100 * value / whole + "%"; /* of the map: paper is of another width */
    element.style.left = part(place.x, size.width); element.style.top = part(place.y, size.height);
    element.style.width = part(Math.max(1, place.width - 1), size.width); element.style.height = part(Math.max(1, place.height - 1), size.height);
  }
  function many(place, items, list) {
    const sum = list.reduce((bytes, node) => bytes + node.bytes, 0);
    const element = make("button", { type: "button", class: "cell", v: 0, "aria-label": list.length + " smaller, " + bytes(sum),
      tip: [list.length + " smaller, " + bytes(sum) + " together", "as a table, below, they are listed"], click: () => {} });
    position(element, place);
    if (place.width > 70 && place.height > 15) element.append(make("span", {}, list.length + " smaller"));
    map.append(element);
    items.push(element);
  }
  /* A group with what is in it, as far as there is room. */
  function group(place, items, node, depth) {
    const inner = branching(node);
    if (!inner.children.length || depth > 3 || place.width < 64 || place.height < 48) { cell(place, items, node); return; }
    const head = make("button", { type: "button", class: "cell head", tip: () => paint(node).lines, "aria-label": paint(node).lines.join(", "), click: () => go(node) },
      make("span", {}, node.name));
    position(head, { x: place.x, y: place.y, width: place.width, height: 18 });
    map.append(head);
    items.push(head);
    const width = place.width - 4, height = place.height - 20, within = itemsOf(inner.children, width * height, 120);
    for (const part of squarify(within.items, place.x + 1, place.y + 17, width, height, within.total)) {
      if (part.item.many) many(part, items, part.item.many);
      else group(part, items, part.item.node, depth + 1);
    }
  }
  function draw() {
    const width = map.clientWidth, height = Math.round(Math.max(260, Math.min(520, width * 0.5)));
    if (!width) return;
    const items = [], top = view();
    map.replaceChildren();
    map.style.height = height + "px";
    Object.assign(size, { width, height });
    chosen = null;
    const outer = itemsOf(top.children, width * height, 40);
    for (const place of squarify(outer.items, 0, 0, width, height, outer.total)) {
      if (place.item.many) { many(place, items, place.item.many); continue; }
      group(place, items, place.item.node, 1);
    }
    rove(map, items, 0);
    if (chosen) { items.forEach((item) => { item.tabIndex = -1; }); chosen.tabIndex = 0; }
  }
  map.addEventListener("keydown", (event) => {
    if ((event.key === "Backspace" || event.key === "Escape") && state.node.parent !== null) { event.preventDefault(); go(nodes[state.node.parent]); focusFirst(map); }
    if (event.key === "Enter" || event.key === " ") setTimeout(() => focusFirst(map), 0);
  });
  onWidth(map.parentElement, draw);
  listeners.push(draw);
  return draw;
}
function focusFirst(map) {
  const found = map.querySelector("[tabindex='0']");
  if (found) found.focus();
}

function crumbs() {
  const box = make("nav", { class: "crumbs", "aria-label": "Where in the model" });
  const draw = () => {
    const parts = path(state.node);
    box.replaceChildren(...parts.flatMap((node, i) => {
      const last = i === parts.length - 1;
      const one = last ? make("strong", { "aria-current": "true" }, node.name)
        : make("button", { type: "button", class: "node", click: () => go(node) }, node.name);
      return last ? [one] : [one, make("span", { class: "sep", "aria-hidden": "true" }, "\u203a")];
    }));
  };
  draw();
  listeners.push(draw);
  return box;
}

function kindText(node) {
  if (node.kind === "tensor") return node.dtype + " [" + node.shape.map(count).join(", ") + (node.dimensions ? ", \u2026" : "") + "]";
  if (node.kind === "file") return "file without tensors";
  if (node.kind === "rest") return "in no tensor";
  return things(node.tensors, "tensor", "tensors");
}

/* ---- bytes by layer ---- */

const packed = Boolean(data.container);
function measureOf(node) {
  if (packed) return node.bytes ? node.stored_bytes / node.bytes : null;
  return node.floor !== null && node.bytes ? Math.min(1, node.floor / node.bytes) : null;
}

/* From and to of a scale, in steps of 5 points, that hold nearly all bytes. */
function scaleOf(values) {
  values.sort((a, b) => a.value - b.value);
  const total = values.reduce((sum, one) => sum + one.weight, 0);
  let sum = 0, from = null, to = 0;
  for (const one of values) {
    sum += one.weight;
    if (from === null && sum > total * 0.02) from = one.value;
    if (sum - one.weight < total * 0.98) to = one.value;
  }
  from = Math.max(0, Math.floor((from === null ? 0 : from) * 20 + 1e-9) / 20);
  to = Math.ceil(to * 20 - 1e-9) / 20;
  if (to - from < 0.1) from = Math.max(0, to - 0.1);
  return [from, to];
}

function drawBytes() {
  if (!nodes.length || !nodes[0].bytes) return;
  const { lead, body } = section("bytes");
  lead.textContent = packed
    ? "Area is bytes of the original; colour is what is stored of them. Choose a group to look into it, a tensor to see it alone."
    : "Area is bytes. These are original files: what packing would store is not known, so colour is the floor, the entropy of exponents and small integers as counted below.";
  const tensors = leaves().filter((node) => node.tensors);
  const [from, to] = scaleOf((tensors.length ? tensors : leaves()).map((node) => ({ value: measureOf(node), weight: node.bytes })).filter((one) => one.value !== null));
  const word = packed ? "stored" : "floor";
  const paint = (node) => {
    const value = measureOf(node);
    return {
      v: value === null ? 0 : Math.max(0, Math.min(1, (value - from) / (to - from))), hatched: value === null,
      label: (value === null ? "" : percent(value) + " \u00b7 ") + bytes(node.bytes),
      lines: [node.name, kindText(node), bytes(node.bytes) + ", " + fine(node.bytes / nodes[0].bytes) + " of all",
        value === null ? "nothing is known of its floor" : word + " " + bytes(packed ? node.stored_bytes : node.floor) + ", " + percent(value) + " of that"],
    };
  };
  const map = make("div", { class: "map", role: "group", "aria-label": "Bytes by layer: arrows go from cell to cell, Enter looks into one, Backspace goes back" });
  put(body, make("div", { class: "bar-row" }, crumbs(), make("div", { class: "legend" },
    make("span", {}, word + " / original"), make("span", {}, (from > 0 ? "\u2264 " : "") + percent(from, 0)), make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, (to < 1 ? "\u2265 " : "") + percent(to, 0)))));
  put(body, make("div", {}, map));
  const details = make("div", { class: "details", "aria-live": "polite" }), list = make("div", {});
  put(body, details, make("details", {}, make("summary", {}, "As a table"), list));
  treemap(map, paint)();
  const more = () => {
    const node = state.node, floor = node.floor === null ? null : bytes(node.floor) + ", " + ratio(node.floor, tensorBytes(node));
    let unread = 0;
    node.sums.forEach((sum) => { unread += sum.unread; });
    details.replaceChildren(facts([
      [node.kind === "tensor" ? "Tensor" : "Shown", node === nodes[0] ? "the whole model" : fullName(node)],
      ["What", kindText(node)],
      ["Original", bytes(node.bytes) + ", " + fine(node.bytes / nodes[0].bytes) + " of all"],
      packed ? ["Stored", bytes(node.stored_bytes) + ", " + ratio(node.stored_bytes, node.bytes)] : null,
      floor ? ["Floor of its tensors", floor + " (order-0 entropy of exponents and small integers, as counted"
      + ([...node.sums.keys()].some((name) => types.get(name).in_blocks) ? "; types in blocks as they are)" : ")")] : null,
      unread ? ["Damaged", make("span", { class: "bad" }, bytes(unread) + " could not be read, and are in no count below")] : null,
    ]));
    const top = node.children.length ? node : nodes[node.parent === null ? 0 : node.parent], rows = top.children.slice().sort((a, b) => b.bytes - a.bytes || a.order - b.order);
    list.replaceChildren(table(
      [{ name: "name" }, { name: "what" }, { name: "original", kind: "n" }, { name: "of all", kind: "n" }, ...(packed ? [{ name: "stored", kind: "n" }, { name: "ratio", kind: "n" }] : []), { name: "floor", kind: "n" }],
      rows.map((child) => [make("button", { type: "button", class: "node", click: () => go(child) }, child.name), kindText(child), bytes(child.bytes), fine(child.bytes / nodes[0].bytes),
        ...(packed ? [bytes(child.stored_bytes), ratio(child.stored_bytes, child.bytes)] : []), child.floor === null ? DASH : ratio(child.floor, tensorBytes(child))])));
  };
  more();
  listeners.push(more);
}

/* Bytes of a node that tensors have: of the whole model files without any are left out. */
function tensorBytes(node) {
  if (!node.children.length) return node.kind === "file" || node.kind === "rest" ? 0 : node.bytes;
  return node.children.reduce((sum, child) => sum + tensorBytes(child), 0);
}

/* ---- what was saved ---- */

function usageTable(rows, label, withFloor, total) {
  const track = (row) => {
    if (!row.original_bytes) return null;
    const stored = row.stored_bytes / row.original_bytes, floor = row.floor_bytes && row.floor_bytes < row.original_bytes ? row.floor_bytes / row.original_bytes : null;
    const bar = make("i", {}), box = make("div", { class: "track", role: "img", "aria-label": "stored " + percent(stored) + (floor === null ? "" : ", floor " + percent(floor)),
      tip: [row.name, "stored " + percent(stored) + " of the original", floor === null ? null : "floor " + percent(floor)] }, bar);
    bar.style.width = Math.min(100, 100 * stored) + "%";
    if (withFloor && floor !== null) {
      const mark = make("b", {});
      mark.style.left = "calc(" + 100 * floor + "% - 1px)";
      box.append(mark);
    }
    return box;
  };
  const line = (row) => [row.name === "OPAQUE" ? "in no tensor" : row.name, row.original_bytes ? bytes(row.original_bytes) : DASH, bytes(row.stored_bytes),
    row.original_bytes ? ratio(row.stored_bytes, row.original_bytes) : DASH,
    ...(withFloor ? [row.floor_bytes && row.floor_bytes < row.original_bytes ? ratio(row.floor_bytes, row.original_bytes) : DASH] : []),
    row.original_bytes > row.stored_bytes ? bytes(row.original_bytes - row.stored_bytes) : DASH, row.chunks === undefined ? DASH : count(row.chunks), track(row)];
  return table([{ name: label }, { name: "original", kind: "n" }, { name: "stored", kind: "n" }, { name: "ratio", kind: "n" }, ...(withFloor ? [{ name: "floor", kind: "n" }] : []),
    { name: "saved", kind: "n" }, { name: "chunks", kind: "n" }, { name: "stored / original", kind: "bar" }], rows.map(line), total ? line(total) : null);
}

function drawSaved() {
  if (!content) return;
  if (!packed) return;
  const { lead, body } = section("saved");
  lead.textContent = "The floor is what the values alone come to: the order-0 entropy of exponents and integers, with everything else as it is. Codecs that use more than the values, such as where they stand, may go below it.";
  const sorted = (rows) => rows.slice().sort((a, b) => b.stored_bytes - a.stored_bytes);
  const rest = data.container.stored_bytes - content.by_codec.reduce((sum, row) => sum + row.stored_bytes, 0);
  put(body, make("h3", {}, "By element type"),
    usageTable(sorted(content.by_dtype), "type", true, { name: "container", original_bytes: content.original_bytes, stored_bytes: data.container.stored_bytes, floor_bytes: content.floor_bytes, chunks: data.container.chunks }),
    make("p", {}, make("span", { class: "key" }, make("span", { class: "swatch" }), "stored"), make("span", { class: "key" }, make("span", { class: "tick" }), "floor"),
      make("span", { class: "key" }, "The container has its index twice, spare copies and alignment besides: " + bytes(Math.max(0, rest)) + ".")),
    make("h3", {}, "By codec"), usageTable(sorted(content.by_codec), "codec", false, null),
    content.by_codec.some((row) => row.name === "model") ? make("p", { class: "lead" }, "\u201cmodel\u201d are the tables that the chunks of a tensor share: bytes that codecs above need.") : null);
}

/* ---- bits and exponents ---- */

const types = new Map(content ? content.types.map((type) => [type.name, type]) : []);

function entropy(share) {
  if (!(share > 0 && share < 1)) return 0;
  return -(share * Math.log2(share) + (1 - share) * Math.log2(1 - share));
}
function field(type, bit) {
  if (type.in_blocks) return "bit of a byte";
  if (type.sign && bit === type.bits - 1) return "sign";
  if (!type.exponent_bits) return "value";
  return bit >= type.mantissa_bits ? "exponent" : "mantissa";
}

/* At most `most` nodes that together are `node`, of those that have values of the type. */
function rowsOf(node, name, most) {
  let rows = [node];
  for (;;) {
    let best = -1;
    rows.forEach((row, i) => {
      const parts = row.children.filter((child) => child.sums.has(name)).length;
      if (!parts || rows.length - 1 + parts > most) return;
      if (best < 0 || row.sums.get(name).tensors > rows[best].sums.get(name).tensors) best = i;
    });
    if (best < 0) break;
    rows.splice(best, 1, ...rows[best].children.filter((child) => child.sums.has(name)));
  }
  return rows.sort((a, b) => a.order - b.order);
}

/* So many characters of a name at most: its middle goes. */
function shorten(text, most) {
  if (text.length <= most) return text;
  const head = most < 24 ? 0 : Math.floor((most - 1) * 0.4);
  return text.slice(0, head) + "\u2026" + text.slice(text.length - (most - 1 - head));
}

/* Its name as seen from a node above. */
function nameBelow(node, above) {
  const parts = path(node), from = parts.indexOf(above) + 1;
  return parts.slice(from).map((part) => part.name).join(".") || node.name;
}

function heat(box, node, type) {
  const rows = rowsOf(node, type.name, 160), bits = [], narrow = box.clientWidth < 600;
  const letter = 6.9, labels = rows.map((row) => nameBelow(row, node).length + (row.tensors > 1 ? 5 : 0));
  const names = Math.round(Math.max(100, Math.min(Math.max(...labels) * letter + 18, box.clientWidth * (narrow ? 0.38 : 0.36)))), letters = Math.floor((names - 16) / letter);
  for (let bit = type.bits - 1; bit >= 0; bit--) bits.push(bit);
  const groups = [];
  bits.forEach((bit) => {
    const name = field(type, bit), last = groups[groups.length - 1];
    if (last && last.name === name) last.span++;
    else groups.push({ name, span: 1 });
  });
  const edge = (i) => i > 0 && field(type, bits[i]) !== field(type, bits[i - 1]);
  const short = { sign: bits.length > 20 || narrow ? "s" : "sign" };
  const step = bits.length > 32 || (narrow && bits.length > 8) ? 4 : 1, cells = [];
  const corner = make("th", { class: "corner", scope: "col" }, type.in_blocks ? "bytes of blocks" : "tensor");
  const body = make("tbody", {}, rows.map((row) => {
    const sum = row.sums.get(type.name), label = row === node ? fullName(node) : nameBelow(row, node);
    return make("tr", {}, make("th", { scope: "row", tip: [row === node ? "all of it" : fullName(row), kindText(row), things(sum.counted, "value", "values") + " counted of " + count(sum.values)] },
      row === node ? "all of it" : shorten(label, letters - (row.tensors > 1 ? 5 : 0)), row.tensors > 1 && row !== node ? " (" + count(row.tensors) + ")" : ""),
      bits.map((bit, i) => {
        const share = sum.weighed ? sum.ones[bit] / sum.weighed : NaN, value = entropy(share);
        const known = Number.isFinite(share), text = known ? value.toFixed(3) + " bit" : "not read";
        const cell = make("td", { v: known ? value : 0, class: [edge(i) ? "edge" : "", known ? "" : "none hatch"].join(" ").trim() || null,
          "aria-label": label + ", bit " + bit + ", " + field(type, bit) + ": " + text,
          tip: [label, "bit " + bit + ", " + field(type, bit), known ? "entropy " + text + "; set in " + fine(share) : "damaged: nothing was read"] });
        cells.push(cell);
        return cell;
      }));
  }));
  const grid = make("table", { class: "heat", role: "grid", "aria-label": "Entropy of each bit, " + type.name },
    make("thead", {},
      make("tr", {}, corner,
        groups.map((group, g) => make("th", { colspan: String(group.span), class: g ? "edge" : null, scope: "colgroup" }, short[group.name] || group.name))),
      make("tr", {}, make("th", { class: "corner" }, "bit"), bits.map((bit, i) => make("th", { scope: "col", class: edge(i) ? "edge" : null }, bit % step ? "" : String(bit))))), body);
  grid.style.minWidth = names + (narrow ? 13 : 16) * bits.length + "px";
  corner.style.width = names + "px";
  box.replaceChildren(grid);
  rove(grid, cells, bits.length);
  return rows.length;
}

/* What the bins of a type are called, and in which order they stand. */
function symbolAxis(type) {
  if (type.exponent_bits) {
    const top = 2 ** type.exponent_bits - 1;
    const ieee = ["F16", "BF16", "F32", "F64", "C64", "C128", "F8_E5M2"].includes(type.name);
    return {
      title: "Exponents", noun: "exponent",
      place: (bin) => bin,
      name: (bin) => type.mantissa_bits && bin === 0 ? "zero and subnormal" : ieee && bin === top ? "infinity and NaN" : "2" + superscript(bin - type.bias),
      short: (bin) => type.mantissa_bits && bin === 0 ? "zero" : ieee && bin === top ? "inf" : String(bin - type.bias).replace("-", MINUS),
      alone: (bin) => (type.mantissa_bits && bin === 0) || (ieee && bin === top),
      label: "exponent (value is 2 to that power, times 1 to 2)",
    };
  }
  const top = 2 ** type.bits;
  const value = (bin) => type.sign && bin >= top / 2 ? bin - top : bin;
  return {
    title: type.in_blocks ? "Bytes" : "Values", noun: "value", place: (bin) => value(bin), name: (bin) => (type.in_blocks ? "byte " : "value ") + String(value(bin)).replace("-", MINUS),
    short: (bin) => String(value(bin)).replace("-", MINUS), alone: () => false,
    label: type.in_blocks ? "byte of a block" : "value",
  };
}

function histogram(box, node, type) {
  const all = nodes[0].sums.get(type.name), one = node === nodes[0] ? null : node.sums.get(type.name), axis = symbolAxis(type);
  const share = (sum, bin) => sum && sum.binned ? (sum.bins.get(bin) || 0) / sum.binned : 0;
  const bins = [...new Set([...all.bins.keys(), ...(one ? one.bins.keys() : [])])];
  if (!bins.length) { box.replaceChildren(make("p", { class: "lead" }, all.binned || !type.exponent_bits ? "Values of this type are too wide to be counted one by one." : "There was no room for histograms of this type.")); return; }
  const seen = (bin) => state.logarithmic || Math.max(share(all, bin), share(one, bin)) >= 2e-4;
  const byPlace = new Map(bins.filter((bin) => !axis.alone(bin)).map((bin) => [axis.place(bin), bin]));
  const places = [...byPlace.keys()].filter((place) => seen(byPlace.get(place))), low = Math.min(...places), high = Math.max(...places), slots = [];
  const apart = bins.filter((bin) => axis.alone(bin) && seen(bin)).sort((a, b) => a - b);
  if (apart[0] === 0) slots.push({ bins: [0], alone: true });
  const each = places.length ? Math.ceil((high - low + 1) / 256) : 1;
  for (let at = low; places.length && at <= high; at += each) {
    const held = [];
    for (let i = at; i < at + each && i <= high; i++) held.push(byPlace.has(i) ? byPlace.get(i) : null);
    slots.push({ bins: held.filter((bin) => bin !== null), at });
  }
  apart.filter((bin) => bin !== 0).forEach((bin) => slots.push({ bins: [bin], alone: true }));
  const beyond = [...byPlace.keys()].filter((place) => place < low || place > high).map((place) => byPlace.get(place))
    .concat(bins.filter((bin) => axis.alone(bin) && !seen(bin))).reduce((sum, bin) => sum + share(one || all, bin), 0);
  const sumOf = (sum, slot) => slot.bins.reduce((total, bin) => total + share(sum, bin), 0);
  const most = Math.max(...slots.map((slot) => Math.max(sumOf(all, slot), one ? sumOf(one, slot) : 0)));
  const floor = -7; /* of the logarithmic scale: one in ten million */
  const nice = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1].find((step) => most / step <= 5) || 1;
  const top = state.logarithmic ? 1 : Math.ceil(most / nice - 1e-9) * nice;
  const height = (value) => state.logarithmic ? (value > 0 ? Math.max(0.5, 100 * (1 - Math.log10(value) / floor)) : 0) : 100 * value / top;
  const chart = make("div", { class: "chart", role: "group", "aria-label": axis.title + " of " + type.name + ": arrows go from bar to bar" });
  const marks = state.logarithmic ? [0, -1, -2, -3, -4, -5, -6].map((power) => 10 ** power) : Array.from({ length: Math.round(top / nice) + 1 }, (_, i) => i * nice);
  for (const mark of marks) {
    const line = make("div", { class: "grid", "aria-hidden": "true" }, make("span", {}, mark === 0 ? "0" : state.logarithmic ? Number((100 * mark).toPrecision(1)) + NARROW + "%" : percent(mark, nice < 0.001 ? 2 : nice < 0.01 ? 1 : 0)));
    line.style.bottom = height(mark) + "%";
    chart.append(line);
  }
  const bars = make("div", { class: "bars" }), buttons = [], width = Math.max(200, box.clientWidth - 60);
  const every = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((step) => step * (width / slots.length) / each >= 38) || 1000;
  const wide = width / slots.length, first = slots[0].alone ? 1 : 0, last = slots.length - 1 - (slots[slots.length - 1].alone ? 1 : 0);
  const isNear = (i) => (first && (i - first + 0.5) * wide < 26) || (last < slots.length - 1 && (last - i + 0.5) * wide < 26); /* "zero" and "inf" have the room */
  for (const [i, slot] of slots.entries()) {
    const a = sumOf(all, slot), b = one ? sumOf(one, slot) : 0;
    const named = slot.bins.length ? axis.name(slot.bins[0]) + (slot.bins.length > 1 ? " to " + axis.name(slot.bins[slot.bins.length - 1]) : "") : null;
    const button = make("button", { type: "button", class: "slot" + (slot.alone ? " alone" : ""),
      "aria-label": (named || "nothing") + ": " + fine(a) + " of the model" + (one ? ", " + fine(b) + " of what is chosen" : ""),
      tip: named ? [named, fine(a) + " of all " + type.name + " values", one ? fine(b) + " of " + fullName(node) : null] : null });
    const bar = make("i", { class: one ? null : "one" });
    bar.style.height = height(a) + "%";
    button.append(bar);
    if (one) {
      const mine = make("i", { class: "one" });
      mine.style.height = height(b) + "%";
      button.append(mine);
    }
    const zero = type.exponent_bits ? type.bias : 0;
    if (slot.alone) button.append(make("span", { "aria-hidden": "true" }, axis.short(slot.bins[0])));
    else if ((slot.at - zero) % every === 0 && !isNear(i)) button.append(make("span", { "aria-hidden": "true" }, String(slot.at - zero).replace("-", MINUS)));
    bars.append(button);
    buttons.push(button);
  }
  chart.append(bars);
  rove(bars, buttons, 0);
  box.replaceChildren(
    make("p", {}, one ? [make("span", { class: "key" }, make("span", { class: "swatch" }), fullName(node)), make("span", { class: "key" }, make("span", { class: "swatch whole" }), "the whole model")]
      : make("span", { class: "key" }, make("span", { class: "swatch" }), "the whole model")),
    chart, make("p", { class: "lead" }, "Across: " + axis.label + ". Up: share of the " + type.name + " values" + (state.logarithmic ? ", logarithmic." : beyond > 0 ? "; " + fine(beyond) + " of them lie outside of what is drawn, as the logarithmic scale shows." : ".")));
}

function drawValues() {
  if (!nodes.length || !nodes[0].sums.size) return;
  const { lead, body } = section("values");
  lead.textContent = "Each row is a tensor or a group, each column a bit. The entropy of a bit is 1 where it is set as often as not, which nothing can compress by itself, and 0 where it is always the same. "
    + (content.counted < content.values
      ? "Counted were " + count(content.counted) + " of " + count(content.values) + " values (" + fine(content.counted / content.values) + "): large tensors in 16 pieces that are spread evenly"
        + (content.every_value ? "." : " (--all counts every value).") + (content.unread_bytes ? " " + bytes(content.unread_bytes) + " are damaged and were left out." : "")
      : "All " + count(content.values) + " values were counted.");
  const choices = make("div", { class: "choices", role: "group", "aria-label": "Element type" }), box = make("div", { class: "heat-box" }), above = crumbs();
  const title = make("h3", {}), chart = make("div", {}), scales = make("div", { class: "choices", role: "group", "aria-label": "Scale" });
  const where = make("p", { class: "lead" });
  put(body, make("div", { class: "bar-row" }, above, choices),
    make("div", { class: "bar-row" }, where, make("div", { class: "legend" }, make("span", {}, "entropy, bits"), make("span", {}, "0"), make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, "1"))),
    box, make("div", { class: "bar-row" }, title, scales), chart);
  const draw = () => {
    const node = state.node, here = node.sums.size ? node : nodes[0];
    const names = [...here.sums.keys()].sort((a, b) => here.sums.get(b).values - here.sums.get(a).values);
    const name = names.includes(state.type) ? state.type : names[0], type = types.get(name);
    choices.replaceChildren(...names.map((one) => make("button", { type: "button", "aria-pressed": String(one === name), click: () => { state.type = one; draw(); } }, one)));
    const shown = heat(box, here, type);
    const tensors = here.sums.get(name).tensors;
    where.textContent = things(shown, "row", "rows") + " for " + things(tensors, "tensor", "tensors") + (shown < tensors ? ": those in brackets are that many together" : "")
      + (here !== node ? "; what is chosen has no tensors, so this is the whole model" : "");
    title.textContent = symbolAxis(type).title;
    scales.replaceChildren(...["linear", "logarithmic"].map((one, i) => make("button", { type: "button", "aria-pressed": String(state.logarithmic === Boolean(i)),
      click: () => { state.logarithmic = Boolean(i); draw(); } }, one)));
    histogram(chart, here, type);
  };
  draw();
  listeners.push(draw);
  onWidth(chart, draw);
}

/* ---- two models ---- */

function drawChange() {
  if (!data.second || !nodes.length) return;
  const { lead, body } = section("change"), all = nodes[0].changes, kinds = all.tensors;
  const other = data.second.replace(/\/+$/, "").split("/").pop() || data.second;
  const parts = [things(kinds.same, "tensor is", "tensors are") + " the same"];
  if (kinds.values) parts.push(count(kinds.values) + " differ in values");
  if (kinds.type) parts.push(count(kinds.type) + " in type");
  if (kinds.shape) parts.push(count(kinds.shape) + " in shape");
  if (kinds.layout) parts.push(count(kinds.layout) + " in the order of dimensions");
  if (kinds.only_first) parts.push(count(kinds.only_first) + (kinds.only_first === 1 ? " is" : " are") + " only here");
  if (content.changes.only_second) parts.push(count(content.changes.only_second) + (content.changes.only_second === 1 ? " is" : " are") + " only in " + other);
  if (kinds.unread) parts.push(count(kinds.unread) + " could not be read");
  lead.textContent = "Compared with " + other + ": " + parts.join(", ") + ". Every value was compared; of " + count(all.elements) + " elements " + count(all.differing) + " differ"
    + (all.unmeasured ? ", " + count(all.unmeasured) + " of them NaN or infinite, which no distance counts" : "") + ".";
  const relative = (change) => change.first > 0 ? Math.sqrt(change.difference / change.first) : change.difference > 0 ? Infinity : 0;
  const share = (change) => change.elements ? change.differing / change.elements : 0;
  const odd = (change) => ["type", "shape", "layout", "only_first", "unread"].filter((kind) => change.tensors[kind]);
  const compared = (node) => node.changes.elements > 0;
  const value = (node) => state.measure === "relative" ? relative(node.changes) : share(node.changes);
  const KINDS = { type: "another type", shape: "another shape", layout: "another order of dimensions", only_first: "only in this model", unread: "could not be read" };
  const range = () => {
    const powers = leaves().filter((node) => node.changes.differing && compared(node)).map((node) => value(node)).filter((one) => one > 0 && Number.isFinite(one)).map(Math.log10);
    if (!powers.length) return [-6, 0];
    const from = Math.floor(Math.min(...powers)), to = Math.ceil(Math.max(...powers));
    return [Math.max(from, to - 8), Math.max(to, from + 1)];
  };
  const paint = (node) => {
    const change = node.changes, [from, to] = range(), at = value(node), none = !change.differing;
    const v = none || !(at > 0) ? 0 : 0.12 + 0.88 * Math.max(0, Math.min(1, (Math.log10(Math.min(at, 1e300)) - from) / (to - from)));
    const special = odd(change), all = special.reduce((sum, kind) => sum + change.tensors[kind], 0);
    const text = !node.tensors ? "in no tensor" : none && !all ? "the same" : state.measure === "relative" ? scientific(at) : fine(at);
    return {
      v, hatched: !node.tensors || (all > 0 && !compared(node)), label: text,
      lines: [node.name, kindText(node), !node.tensors ? "not compared here" : none && !all ? "the same" : null,
        compared(node) && !none ? count(change.differing) + " of " + count(change.elements) + " elements differ, " + fine(share(change)) : null,
        compared(node) && !none ? "largest distance " + scientific(change.max) + ", relative norm " + scientific(relative(change)) : null,
        ...special.map((kind) => count(change.tensors[kind]) + " " + KINDS[kind])],
    };
  };
  const map = make("div", { class: "map", role: "group", "aria-label": "Changes by layer: arrows go from cell to cell, Enter looks into one, Backspace goes back" });
  const choices = make("div", { class: "choices", role: "group", "aria-label": "What colour shows" }), legend = make("div", { class: "legend" });
  put(body, make("div", { class: "bar-row" }, crumbs(), choices), make("div", { class: "bar-row" }, legend), make("div", {}, map));
  const list = make("div", {});
  const draw = treemap(map, paint);
  const rows = () => {
    const changed = leaves().filter((node) => node.changes.differing || odd(node.changes).length)
      .sort((a, b) => (compared(b) ? relative(b.changes) : Infinity) - (compared(a) ? relative(a.changes) : Infinity) || a.order - b.order);
    list.replaceChildren(...(changed.length ? [make("h3", {}, changed.length > 50 ? "The 50 most changed of " + count(changed.length) : "What changed, most first"),
      table([{ name: "tensor" }, { name: "what" }, { name: "differ", kind: "n" }, { name: "share", kind: "n" }, { name: "max |d|", kind: "n" }, { name: "relative norm", kind: "n" }],
        changed.slice(0, 50).map((node) => [make("button", { type: "button", class: "node", click: () => go(node) }, fullName(node)), odd(node.changes).map((kind) => KINDS[kind]).join(", ") || kindText(node),
          compared(node) ? count(node.changes.differing) : DASH, compared(node) ? fine(share(node.changes)) : DASH, compared(node) ? scientific(node.changes.max) : DASH, compared(node) ? scientific(relative(node.changes)) : DASH]))] : []));
  };
  const buttons = () => {
    choices.replaceChildren(...[["relative", "relative norm"], ["share", "share that differs"]].map(([key, text]) => make("button", { type: "button", "aria-pressed": String(state.measure === key),
      click: () => { state.measure = key; buttons(); draw(); } }, text)));
    const [from, to] = range(), mark = (power) => state.measure === "relative" ? "10" + superscript(power) : fine(10 ** power);
    legend.replaceChildren(make("span", { class: "ramp", "aria-hidden": "true" }), make("span", {}, "weakest: the same; then " + mark(from) + " to " + mark(to) + ", logarithmic"),
      make("span", { class: "swatch hatch", "aria-hidden": "true" }), make("span", {}, "cannot be compared, or only here"));
  };
  buttons();
  draw();
  rows();
  put(body, list);
  if (content.changes.only_second_names.length) {
    const names = content.changes.only_second_names;
    put(body, make("details", {}, make("summary", {}, things(content.changes.only_second, "tensor", "tensors") + " only in " + other),
      make("ul", {}, names.map((name) => make("li", { class: "mono" }, name))),
      names.length < content.changes.only_second ? make("p", { class: "lead" }, "These are the first " + names.length + "; mmh diff lists all.") : null));
  }
}

/* ---- foot ---- */

function drawNotes() {
  const box = document.getElementById("notes"), lines = [];
  lines.push("Made by mmh " + data.version + ". This page holds all that it shows, and loads nothing from elsewhere.");
  if (content && content.tensors_together)
    lines.push("Of " + things(content.tensors, "tensor", "tensors") + " " + count(content.tensors_together) + " are shown together with others, so that the page stays small: mmh ls lists each. All are in every sum.");
  if (content && content.without_histogram)
    lines.push("There was no room for the histograms of " + things(content.without_histogram, "node", "nodes") + ": what is drawn of exponents and values is of the others.");
  if (content && nodes[0].sums.size)
    lines.push("Counts of tensors that are views of others, or share their bytes, are of the bytes as they lie; a byte of several tensors counts in each.");
  box.append(...lines.map((line) => make("p", {}, line)));
}

drawHead();
drawSummary();
drawState();
drawBytes();
drawChange();
drawSaved();
drawValues();
drawNotes();
})();
