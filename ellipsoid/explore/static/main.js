// The page: actions change the state, and the state is shown.

import { Newest, ask, askJson, pictured, send } from "./api.js";
import { drawMap, show, showGauge } from "./drawing.js";
import { Sliders, element } from "./sliders.js";
import { History, read, write } from "./state.js";
import { mark, showButtons, showFigures } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const status = $("status");

let space;
let history;
let beginning;
let nShown = 12;
// Data about the state that is shown.
const shown = { axes: [], matched: null, training: null, points: new Float32Array(0), draws: [], point: null };

const say = (text) => {
  status.textContent = text;
};

/** Run something, and show its error. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    say(error.message);
  }
}

// --- requests to the server -------------------------------------------------------------------------

const shape = () => space.shapes.find((one) => one.name === history.state.shape) ?? space.shapes[0];

/** Fields of the starting point, the draws and the region. */
function where(state = history.state) {
  const { shape, law, region, level, part } = state;
  const start = state.t !== null ? { a: state.a, b: state.b, t: state.t } : { z: state.z };
  return { shape, law, region, level, part, ...start };
}

const moved = (state = history.state) => ({ ...where(state), moves: state.moves, keep: state.keep });
const drawn = (state = history.state) => {
  const { shape, law, region, level, label, seed, first } = state;
  return { shape, law, region, level, label, seed, first };
};

// --- showing ------------------------------------------------------------------------------------------

const picture = new Newest(async (fields, since) => {
  await attempt(async () => {
    const { bitmap, about } = await pictured(await ask("picture", fields));
    shown.point = about.plane;
    const text = showGauge(about.gauge, about.kept, scaled(shown.training));
    if (bitmap === null) showMap();
    else {
      show($("picture"), bitmap);
      $("picture").setAttribute("aria-label", `Picture of the point: ${text}`);
      scheduleMap();
    }
    if (since !== undefined) performance.measure("move", { start: since });
  });
});

const axes = new Newest(async () => {
  await attempt(async () => {
    const state = history.state;
    const answer = await askJson("axes", { ...where(state), n: nShown });
    Object.assign(shown, { axes: answer.axes, matched: answer.matched, training: answer.training });
    if (answer.part !== history.state.part && history.state.z === state.z && history.state.shape === state.shape) {
      // The part of a mixture belongs to the place where the point began.
      history.state = { ...history.state, part: answer.part };
      remember();
    }
    showAxes();
    showLevel();
    spans.call();
    await picture.call(moved());
  });
});

const draws = new Newest(async () => {
  await attempt(async () => {
    const fields = drawn();
    const { bitmap, about } = await pictured(await ask("draws", fields));
    shown.draws = about.plane;
    const texts = about.gauge.map((gauge, index) => `Draw ${fields.first + index}: gauge ${gauge.toFixed(2)}`);
    showButtons($("draws"), bitmap, texts, chosenDraw(), take);
    showMap();
  });
});

const square = new Newest(async () => {
  await attempt(async () => {
    $("square").hidden = !$("show-square").checked;
    if ($("square").hidden) return;
    const { bitmap, about } = await pictured(await ask("square", drawn()));
    const texts = about.gauge.map(
      (gauge, index) =>
        `Row ${Math.floor(index / space.n_in_row) + 1}, column ${(index % space.n_in_row) + 1}: gauge ${gauge?.toFixed(2) ?? "∞"}`,
    );
    showButtons($("square"), bitmap, texts, -1, (take) =>
      attempt(async () => go({ z: (await askJson("square", { ...drawn(), take })).z })),
    );
  });
});

const path = new Newest(async () => {
  await attempt(async () => {
    const { a, b } = history.state;
    $("path").hidden = a === null || b === null;
    if (a === null || b === null) return;
    const { bitmap, about } = await pictured(await ask("path", { ...where(), a, b }));
    const n = about.gauge.length;
    const texts = about.gauge.map((gauge, index) => `${index + 1} of ${n} from A to B: gauge ${gauge?.toFixed(2) ?? "∞"}`);
    showButtons($("frames"), bitmap, texts, frameOf(history.state.t), (index) => go({ t: index / (n - 1) }));
  });
});

const nearest = new Newest(async () => {
  await attempt(async () => {
    if (!$("show-nearest").checked) {
      $("nearest").replaceChildren();
      $("nearest-note").textContent = "";
      return;
    }
    if (!$("nearest").childElementCount) $("nearest-note").textContent = "Reading the training images …";
    const { bitmap, about } = await pictured(await ask("nearest", moved()));
    const captions = about.distances.map((distance) => distance.toPrecision(3));
    const texts = about.rows.map((row, index) => `Training image ${row}, at distance ${captions[index]}`);
    showFigures($("nearest"), bitmap, captions, texts);
    const other = about.unseen ? "an unseen image" : "a training image";
    const what = about.reconstructed ? " The pictures are reconstructions, because the training images are not available." : "";
    const ratio = about.ratio === null ? "" : ` The nearest one is ${about.ratio.toFixed(2)} times as far away as the nearest training image usually is from ${other}.`;
    $("nearest-note").textContent = `The number below each picture is its distance in the latent space.${ratio}${what}`;
  });
});

const spans = new Newest(async () => {
  await attempt(async () => {
    const known = await askJson("spans", { ...moved(), keep: false, n: nShown });
    components.mark(known);
    directions.mark(known);
  });
});

const code = new Newest(async () => {
  await attempt(async () => {
    const { origin, row, seed, label } = history.state;
    $("code").textContent = (await askJson("code", { ...moved(), origin, row, seed, label })).code;
  });
});

/** Gauges of training images at the current level, from those at level 1. */
const scaled = (gauges) => (gauges === null ? null : gauges.map((gauge) => gauge / history.state.level));

const chosenDraw = () => {
  const { origin, row, first } = history.state;
  return origin === "draw" ? row - first : -1;
};
const frameOf = (t) => (t === null ? -1 : Math.round(t * (space.n_frames - 1) * 1e6) / 1e6);

function showAxes() {
  const isDirection = (axis) => axis.id.startsWith("d:");
  const own = shown.axes.filter(isDirection);
  $("directions").hidden = own.length === 0;
  directions.show(own, history.state.moves);
  const rest = shown.axes.filter((axis) => !isDirection(axis));
  components.show(rest, history.state.moves);
  $("part-note").hidden = history.state.part === null;
  $("part-note").textContent = `The components belong to part ${history.state.part + 1} of ${shape().parts}, the nearest one.`;
  $("more").hidden = rest.length >= shape().components;
  const along = $("along");
  const chosen = along.value;
  const options = shown.axes.map((axis) => new Option(axis.name, axis.id));
  if (history.state.a !== null && history.state.b !== null) options.unshift(new Option("the path from A to B", ""));
  along.replaceChildren(...options);
  if (options.some((option) => option.value === chosen)) along.value = chosen;
}

function showLevel() {
  const { level } = history.state;
  const slider = $("level");
  // The level of equal variance stands at four fifths of the slider.
  slider.max = Math.max(shown.matched === null ? 4 : 1.25 * shown.matched, level);
  slider.min = Math.min(0.2, level);
  slider.value = level;
  showLevelText();
}

function showLevelText() {
  const { level } = history.state;
  const spread = shown.matched === null ? "" : `, spread ${Math.round((100 * level) / shown.matched)} %`;
  $("level-text").textContent = `${level.toFixed(2)}${spread}`;
}

let mapIsDue = false;
function scheduleMap() {
  if (mapIsDue) return;
  mapIsDue = true;
  requestAnimationFrame(() => {
    mapIsDue = false;
    showMap();
  });
}

function showMap() {
  const isFlat = shape().kind !== "Mixture" && history.state.region !== "box";
  const parts = { ...shown, level: isFlat ? history.state.level : null };
  drawMap($(space.image === null ? "picture" : "map"), parts);
}

function showSettings() {
  const state = history.state;
  $("shape").value = state.shape;
  const laws = space.laws[state.region] ?? [];
  $("law").replaceChildren(...laws.map((law) => new Option(law)));
  $("law").value = state.law;
  $("region").value = state.region;
  const { labels } = shape();
  $("label-field").hidden = labels.length === 0;
  $("label").replaceChildren(new Option("any", ""), ...labels.map((label) => new Option(label)));
  $("label").value = state.label ?? "";
  $("seed").value = state.seed;
  $("keep").checked = state.keep;
  $("undo").disabled = !history.canUndo;
  $("redo").disabled = !history.canRedo;
  $("reset").disabled = Object.keys(state.moves).length === 0;
  for (const [id, pin] of [["to-a", state.a], ["to-b", state.b]]) $(id).disabled = pin === null;
  $("path-note").hidden = state.a !== null && state.b !== null;
  if (state.t !== null) $("t").value = state.t;
  mark($("draws"), chosenDraw());
  mark($("frames"), frameOf(state.t));
  showLevelText();
}

function remember() {
  const address = new URL(location.href);
  address.hash = write(history.state);
  window.history.replaceState(null, "", address);
}

let waiting;
/** Show a committed state; equal parts of `before` are not requested again. */
function showAll(before) {
  const state = history.state;
  const differ = (...names) => before === undefined || names.some((name) => before[name] !== state[name]);
  remember();
  showSettings();
  if (differ("shape")) attempt(async () => {
    shown.points = new Float32Array(await (await ask("plane", { shape: state.shape })).arrayBuffer());
    showMap();
  });
  if (differ("shape", "region", "law", "level", "z", "t")) axes.call();
  else {
    components.place(state.moves);
    directions.place(state.moves);
    picture.call(moved());
  }
  if (differ("shape", "region", "law", "level", "label", "seed", "first")) {
    draws.call();
    square.call();
  }
  if (differ("a", "b", "shape", "region", "level")) path.call();
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    spans.call();
    nearest.call();
    code.call();
  }, 150);
}

/** Change the state for good. */
function commit(changes = {}) {
  const before = { ...history.state };
  if (!history.commit(changes)) return;
  say("");
  showAll(Object.keys(changes).length ? before : { ...history.state });
}

/** Start at another point. */
const go = (changes) => commit({ z: null, t: null, part: null, moves: {}, origin: "point", ...changes });

/** Change the settings of the draws: a drawn point stays, but is no longer one of the draws. */
const redraw = (changes) => commit({ origin: history.state.origin === "draw" ? "point" : history.state.origin, first: 0, ...changes });

// --- actions of a person -------------------------------------------------------------------------------

const moveAxis = (id, amount) => {
  const since = performance.now();
  const moves = { ...history.state.moves, [id]: amount };
  if (amount === 0) delete moves[id];
  history.preview({ moves });
  picture.call(moved(), since);
};
const components = new Sliders($("components"), moveAxis, () => commit());
const directions = new Sliders($("directions"), moveAxis, () => commit());

const take = (index) =>
  attempt(async () => {
    const fields = drawn();
    const row = fields.first + index;
    const { z } = await askJson("draw", { ...fields, row });
    go({ z, origin: "draw", row });
  });

const pin = (name) =>
  attempt(async () => {
    const { z } = await askJson("point", moved());
    commit({ [name]: z, t: null, ...(history.state.t === null ? {} : { z, moves: {}, part: null, origin: "point" }) });
    showAxes();
  });

const newDraws = () => redraw({ seed: (history.state.seed + 1) % Number.MAX_SAFE_INTEGER });
const travel = (step) => {
  history[step]();
  say("");
  showAll();
};

async function upload(file) {
  if (!space.encoder) return say("This space has no encoder, so it cannot take pictures.");
  if (file.size > space.max_upload) return say(`The picture is larger than ${space.max_upload / 2 ** 20} MB.`);
  say("Encoding …");
  await attempt(async () => {
    const { bitmap, about } = await pictured(await send("encode", file));
    show($("original"), bitmap, 0, 2);
    show($("rebuilt"), bitmap, 1, 2);
    $("loss").textContent = `The root mean squared error of the reconstruction is ${about.error.toFixed(3)}, for pixels from 0 to 1.`;
    $("pair").hidden = false;
    say("");
    go({ z: about.z, origin: "picture" });
  });
}

async function save(name, request, fields) {
  await attempt(async () => {
    const content = await (await ask(request, fields)).blob();
    const link = element("a");
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

/** Factor by which a small picture is enlarged in a file. */
const enlarged = () => Math.max(1, Math.round(480 / Math.max(space.image[0], space.image[1])));
function frames() {
  const axis = $("along").value;
  if (axis === "") return { ...where(), a: history.state.a, b: history.state.b, t: null };
  return { ...moved(), axis, at: shown.axes.find((one) => one.id === axis)?.at ?? 0 };
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    say("");
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1500);
  } catch {
    say("The browser does not allow the page to copy. Select the text and copy it by hand.");
  }
}

function listen() {
  const click = (id, work) => $(id).addEventListener("click", work);
  const change = (id, work) => $(id).addEventListener("change", () => work($(id)));
  click("undo", () => travel("undo"));
  click("redo", () => travel("redo"));
  click("reset", () => commit({ moves: {} }));
  click("centre", () => go({ origin: "centre" }));
  click("inside", () =>
    attempt(async () => {
      go({ z: (await askJson("inside", moved())).z });
    }),
  );
  change("keep", (box) => commit({ keep: box.checked }));
  click("more", () => {
    nShown += 12;
    axes.call();
  });
  change("shape", (list) =>
    attempt(async () => {
      // The point stays; only the axes change.
      const { z } = await askJson("point", moved());
      const stays = history.state.origin === "centre" && !Object.keys(history.state.moves).length;
      const place = stays ? {} : { z, origin: "point", t: null };
      commit({ ...place, shape: list.value, part: null, moves: {}, label: null, first: 0 });
    }),
  );
  change("law", (list) => redraw({ law: list.value }));
  change("region", (list) => {
    const laws = space.laws[list.value];
    redraw({ region: list.value, law: laws.includes(history.state.law) ? history.state.law : laws[0] });
  });
  change("label", (list) => redraw({ label: list.value || null }));
  change("seed", (field) => {
    if (field.value !== "" && field.checkValidity()) redraw({ seed: Number(field.value) });
    else field.value = history.state.seed;
  });
  $("level").addEventListener("input", () => {
    history.preview({ level: Number($("level").value) });
    showLevelText();
    picture.call(moved());
    draws.call();
  });
  change("level", (slider) => {
    redraw({ level: Number(slider.value) });
    // The dragged value was a preview of the same state.
    axes.call();
    path.call();
    square.call();
  });
  click("new-draws", newDraws);
  click("pin-a", () => pin("a"));
  click("pin-b", () => pin("b"));
  click("to-a", () => go({ z: history.state.a }));
  click("to-b", () => go({ z: history.state.b }));
  $("t").addEventListener("input", () => {
    const since = performance.now();
    history.preview({ z: null, t: Number($("t").value), part: null, moves: {}, origin: "point" });
    picture.call(moved(), since);
  });
  change("t", () => {
    commit();
    axes.call();
  });
  change("show-square", () => square.call());
  change("show-nearest", () => nearest.call());
  click("choose", () => $("file").click());
  change("file", (field) => {
    if (field.files.length) upload(field.files[0]);
    field.value = "";
  });
  click("save-picture", () => save("picture.png", "picture", { ...moved(), file: true, size: enlarged() }));
  click("save-latents", () => save("latents.npz", "latents", moved()));
  click("save-strip", () => save("strip.png", "strip", { ...frames(), size: Math.max(1, Math.round(enlarged() / 3)) }));
  click("save-film", () => save("film.gif", "animation", frames()));
  click("copy-link", () => copy(location.href, $("copy-link")));
  click("copy-code", () => copy($("code").textContent, $("copy-code")));

  const dropping = (event, isOver) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", isOver);
  };
  addEventListener("dragover", (event) => dropping(event, true));
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) dropping(event, false);
  });
  addEventListener("drop", (event) => {
    dropping(event, false);
    const [file] = event.dataTransfer?.files ?? [];
    if (file) upload(file);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) upload(file);
  });
  addEventListener("hashchange", () => {
    history = new History(read(location.hash.slice(1), beginning));
    showAll();
  });
  addEventListener("resize", () => showMap());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showMap());

  const keys = {
    n: newDraws,
    z: () => travel("undo"),
    y: () => travel("redo"),
    r: () => $("reset").click(),
    c: () => $("centre").click(),
    k: () => $("keep").click(),
    a: () => pin("a"),
    b: () => pin("b"),
  };
  addEventListener("keydown", (event) => {
    const isTyping = event.target.matches?.("select, input:not([type=range]):not([type=checkbox])");
    const work = keys[event.key.toLowerCase()];
    if (!work || isTyping || event.altKey || event.repeat) return;
    if ((event.ctrlKey || event.metaKey) && !"zy".includes(event.key.toLowerCase())) return;
    event.preventDefault();
    (event.shiftKey && event.key.toLowerCase() === "z" ? keys.y : work)();
  });
}

async function begin() {
  space = await askJson("space");
  document.title = `Explore ${space.name}`;
  $("name").textContent = space.name;
  $("shape-field").hidden = space.shapes.length < 2;
  $("shape").replaceChildren(...space.shapes.map((one) => new Option(one.name)));
  $("region").replaceChildren(...Object.keys(space.laws).map((region) => new Option(region)));
  $("neighbours").hidden = space.latents === 0 || space.image === null;
  $("own").hidden = !space.encoder;
  $("map-note").textContent =
    `The map shows ${space.latents ? "the training latents, " : ""}the ellipse of the level, the draws and the point ` +
    "in the plane of the first two components, in standard deviations.";
  if (space.image === null) {
    $("map-section").hidden = true;
    $("along-field").hidden = true;
    for (const button of document.querySelectorAll(".with-picture")) button.hidden = true;
    $("picture").setAttribute("aria-label", $("map-note").textContent);
    $("no-decoder").hidden = false;
  } else {
    document.body.classList.toggle("smooth", Math.max(space.image[0], space.image[1]) >= 200);
  }
  beginning = {
    ...{ label: null, origin: "centre", z: null, a: null, b: null, t: null, row: 0, part: null },
    ...{ seed: 0, first: 0, moves: {}, keep: true },
    ...space.begin,
  };
  history = new History(read(location.hash.slice(1), beginning));
  listen();
  showAll();
}

attempt(begin);
