"use strict";
// The switch of colours, and the text with its units. Text enters by textContent alone.

const $ = (id) => document.getElementById(id);

$("theme").addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});

if ($("text-data")) readText(JSON.parse($("text-data").textContent));

function readText(data) {
  const LEVELS = 12; // how many shades a side has
  const PART = 400; // how many tokens get their elements at once
  const CONTEXT = 24; // how many tokens are shown before the one that is read

  const bytes = (packed) => Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const Places = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[data.width];
  const text = new Places(bytes(data.text).buffer);
  const expected = new Places(bytes(data.expected).buffer);
  const chances = bytes(data.chances);
  const came = bytes(data.came);
  const ranks = bytes(data.ranks);
  for (const state of data.states) state.values = new Int8Array(bytes(state.values).buffer);

  const count = text.length;
  const layers = [...new Set(data.states.map((s) => s.layer))];
  // Most models have their recurrent layers in one place, whose name says nothing then.
  const places = new Set(layers.map((layer) => layer.split(" ")[0]));
  const brief = (layer) => (places.size === 1 ? layer.slice(layer.indexOf(" ") + 1) : layer);
  const token = (i) => data.tokens[text[i]];
  const chance = (root) => (root / 255) ** 2;
  // `place` is where the unit stands among those kept, `property` what its button ranks it by.
  const now = { state: 0, place: 0, at: 0, property: null };

  // What has no shape of its own, or turns the direction of what follows, is shown by a stand-in.
  const STAND_INS = { "": "·", "\n": "⏎", "\t": "→\t", "\x7f": "␡" };
  function standIn(c) {
    const code = c.codePointAt(0);
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    return `‹${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  }
  const visible = (word) =>
    STAND_INS[word] ?? word.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => STAND_INS[c] ?? standIn(c));
  const glyph = (i) => visible(token(i));

  // --- Units -----------------------------------------------------------------------------------

  const state = () => data.states[now.state];
  const step = (i) => state().values[now.place * count + i]; // −127 … 127
  const value = (i) => (step(i) / 127) * state().largest[now.place];

  function level(i) {
    const shade = Math.round((Math.abs(step(i)) / 127) * LEVELS);
    return shade === 0 ? "" : `level-${step(i) < 0 ? "below" : "above"}-${shade}`;
  }

  function holds(i) {
    const mask = now.property?.mask;
    return Boolean(mask && (mask[i >> 3] >> (7 - (i & 7))) & 1);
  }

  function pick(stateIndex, place, property = null) {
    now.state = stateIndex;
    now.property = property;
    now.place = Math.max(0, Math.min(place, state().units.length - 1));
    const { layer, units, size, largest } = state();
    $("layer").value = layer;
    fillStates();
    $("unit").value = units[now.place];
    $("unit").max = size - 1;
    $("unit-slider").max = units.length - 1;
    $("unit-slider").value = now.place;
    $("unit-slider").setAttribute("aria-valuetext", `unit ${units[now.place]}`);
    $("unit-note").hidden = units.length === size;
    $("unit-note").textContent =
      `The text is long: ${units.length} of this state's ${size} units are on this page, those ` +
      "that tell a property of the text first, then those that vary most.";
    const end = number(largest[now.place]);
    $("legend-low").textContent = `−${end}`;
    $("legend-high").textContent = `+${end}`;
    $("legend-words").textContent =
      `Colours from blue, −${end}, through none at 0 to orange, +${end}: this unit's largest.`;
    for (const button of $("ranked").querySelectorAll("button")) {
      const same = Number(button.dataset.state) === now.state;
      button.setAttribute("aria-pressed", same && Number(button.dataset.unit) === units[now.place]);
    }
    $("underlined").textContent = property?.mask ? `Underlined: ${property.property}.` : "";
    for (const part of shown) colour(part);
    read(now.at, false);
  }

  function nearest(unit) {
    const { units } = state();
    const far = units.map((other) => Math.abs(other - unit));
    return far.indexOf(Math.min(...far));
  }

  function options(select, words, chosen) {
    select.replaceChildren(...words.map((word) => new Option(word, word, false, word === chosen)));
  }

  function fillStates() {
    const { layer, state: name } = state();
    const names = data.states.filter((s) => s.layer === layer).map((s) => s.state);
    options($("state"), names, name);
  }

  function find(layer, name) {
    const same = data.states.findIndex((s) => s.layer === layer && s.state === name);
    return same >= 0 ? same : data.states.findIndex((s) => s.layer === layer);
  }

  function pickUnit(stateIndex, unit, property = null) {
    now.state = stateIndex;
    pick(stateIndex, nearest(unit), property);
  }

  options($("layer"), layers, state().layer);
  $("layer").addEventListener("change", (e) =>
    pickUnit(find(e.target.value, state().state), state().units[now.place]));
  $("state").addEventListener("change", (e) =>
    pickUnit(find(state().layer, e.target.value), state().units[now.place]));
  $("unit").addEventListener("change", (e) => {
    const wanted = e.target.valueAsNumber;
    pick(now.state, Number.isNaN(wanted) ? now.place : nearest(wanted));
  });
  $("unit-slider").addEventListener("input", (e) => pick(now.state, e.target.valueAsNumber));

  for (const ranked of data.ranked) {
    const { property, units } = ranked;
    if (ranked.mask) ranked.mask = bytes(ranked.mask);
    const row = document.createElement("div");
    const head = document.createElement("h3");
    head.textContent = property;
    const buttons = document.createElement("div");
    buttons.setAttribute("role", "group");
    buttons.setAttribute("aria-label", property);
    row.append(head, buttons);
    for (const { state: index, unit, score } of units) {
      const { layer, state: name } = data.states[index];
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.state = index;
      button.dataset.unit = unit;
      button.append(element("b", `${brief(layer)} ${name} ${unit}`), ` ${score}`);
      button.disabled = !data.states[index].units.includes(unit);
      button.addEventListener("click", () => pickUnit(index, unit, ranked));
      buttons.append(button);
    }
    $("ranked").append(row);
  }

  // --- The text: lines of parts; a part gets an element for each token once it is near. ----------

  const parts = [];
  const lines = []; // the first token of each line
  const shown = new Set();
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const part = parts[target.dataset.part];
      if (isIntersecting) reveal(part);
      else shown.delete(part);
    }
  }, { root: $("text"), rootMargin: "400px 0px" });

  function layOut() {
    const all = document.createDocumentFragment();
    for (let start = 0; start < count; ) {
      const line = document.createElement("p");
      line.dir = "auto";
      lines.push(start);
      let end = start;
      while (end < count && token(end) !== "\n") end++;
      end = Math.min(end + 1, count);
      for (let first = start; first < end; first += PART) {
        const last = Math.min(first + PART, end);
        const element = document.createElement("span");
        element.dataset.part = parts.length;
        for (let i = first; i < last; i++) element.textContent += glyph(i);
        parts.push({ element, first, last, whole: false });
        line.append(element);
      }
      all.append(line);
      start = end;
    }
    $("text").append(all);
    for (const { element } of parts) near.observe(element);
  }

  function reveal(part) {
    if (!part.whole) {
      const tokens = [];
      for (let i = part.first; i < part.last; i++) {
        const element = document.createElement("b");
        element.textContent = glyph(i);
        element.dataset.at = i;
        tokens.push(element);
      }
      part.element.replaceChildren(...tokens);
      part.whole = true;
    }
    shown.add(part);
    colour(part);
  }

  function colour(part) {
    let i = part.first;
    for (const element of part.element.children) {
      element.className = level(i);
      element.classList.toggle("holds", holds(i++));
    }
    if (now.at >= part.first && now.at < part.last) mark(now.at, true);
  }

  function partOf(i) {
    let low = 0, high = parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (parts[middle].first <= i) low = middle;
      else high = middle - 1;
    }
    return parts[low];
  }

  const elementOf = (i) => {
    const part = partOf(i);
    return part.whole ? part.element.children[i - part.first] : null;
  };
  const mark = (i, on) => elementOf(i)?.classList.toggle("here", on);

  // --- What was expected -----------------------------------------------------------------------

  const number = (x) => (x === 0 ? "0" : Math.abs(x) < 0.01 ? x.toExponential(1) : x.toFixed(2));
  const signed = (x) => (x < 0 ? "−" : "+") + number(Math.abs(x));
  const percent = (p) => (p < 0.005 ? "<1 %" : `${Math.round(p * 100)} %`);
  const NAMES = { "": "part of a character", "\n": "line end", " ": "space", "\t": "tab" };
  const named = (word) => NAMES[word] ?? visible(word);

  function element(tag, words, name = "") {
    const made = document.createElement(tag);
    made.textContent = words;
    made.className = name;
    return made;
  }

  function read(i, aloud) {
    mark(now.at, false);
    now.at = i;
    mark(i, true);
    const before = [];
    for (let k = Math.max(0, i - CONTEXT); k < i; k++) before.push(glyph(k));
    const here = element("b", glyph(i));
    $("context").replaceChildren((i > CONTEXT ? "…" : "") + before.join(""), here);
    const { layer, state: name, units } = state();
    $("activation").textContent =
      `${data.unit} ${(i + 1).toLocaleString("en")} of ${count.toLocaleString("en")}: ` +
      `${brief(layer)} ${name} ${units[now.place]} is ${signed(value(i))}`;

    const rows = [], words = [];
    for (let k = 0; k < data.choices; k++) {
      const word = data.tokens[expected[i * data.choices + k]];
      const p = chance(chances[i * data.choices + k]);
      const row = element("li", "", ranks[i] === k ? "did" : "");
      const bar = document.createElement("i");
      bar.setAttribute("aria-hidden", "true");
      bar.style.width = `${Math.max(p * 100, 0.5)}%`;
      row.append(element("bdi", named(word)), bar, element("span", percent(p)));
      rows.push(row);
      words.push(`${named(word)} ${percent(p)}`);
    }
    $("expected").replaceChildren(...rows);
    const arrival = i + 1 < count
      ? ["What came: ", element("bdi", named(token(i + 1))), `, ${percent(chance(came[i]))}`]
      : ["Here the text ends."];
    $("came").replaceChildren(...arrival);
    if (aloud) {
      $("spoken").textContent =
        `${named(token(i))}, unit ${units[now.place]} ${signed(value(i))}. ` +
        `Expected next: ${words.join(", ")}. ${$("came").textContent}`;
    }
  }

  function goTo(i) {
    const at = Math.max(0, Math.min(i, count - 1));
    reveal(partOf(at));
    read(at, true);
    elementOf(at).scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  function lineOf(i) {
    let low = 0, high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle] <= i) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  const lineEnd = (line) => (line + 1 < lines.length ? lines[line + 1] : count) - 1;

  function vertical(by) {
    const line = lineOf(now.at);
    const to = Math.max(0, Math.min(line + by, lines.length - 1));
    return Math.min(lines[to] + (now.at - lines[line]), lineEnd(to));
  }

  const KEYS = {
    ArrowLeft: () => now.at - 1,
    ArrowRight: () => now.at + 1,
    ArrowUp: () => vertical(-1),
    ArrowDown: () => vertical(1),
    PageUp: () => vertical(-10),
    PageDown: () => vertical(10),
    Home: () => lines[lineOf(now.at)],
    End: () => lineEnd(lineOf(now.at)),
  };

  $("text").addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    goTo(KEYS[event.key]());
  });
  $("text").addEventListener("focus", () => read(now.at, true));
  for (const kind of ["mouseover", "click"]) {
    $("text").addEventListener(kind, (event) => {
      const at = event.target.dataset.at;
      if (at !== undefined) read(Number(at), kind === "click");
    });
  }

  layOut();
  const first = data.ranked.find(({ units }) => units.length);
  if (first) pickUnit(first.units[0].state, first.units[0].unit, first);
  else pick(0, 0);
}
