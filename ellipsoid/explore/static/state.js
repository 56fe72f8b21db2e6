// State of the page as one plain object, with a history. The address contains it after "#".

const TEXTS = ["shape", "law", "region", "label", "origin", "z", "a", "b"];
const NUMBERS = ["level", "seed", "first", "row", "part", "t"];

export class History {
  #past = [];
  #future = [];

  constructor(state) {
    this.state = state;
  }

  /** Change the state temporarily, while a slider is dragged. */
  preview(changes) {
    this.#start ??= this.state;
    this.state = { ...this.state, ...changes };
  }

  #start = null;

  /** Change the state with the possibility to undo it. */
  commit(changes = {}) {
    const next = { ...this.state, ...changes };
    const before = this.#start ?? this.state;
    this.#start = null;
    this.state = next;
    if (write(next) === write(before)) return false;
    this.#past.push(before);
    this.#future = [];
    return true;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.state);
    this.state = this.#past.pop();
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.state);
    this.state = this.#future.pop();
  }
}

/** Write a state as text for the address. */
export function write(state) {
  const words = new URLSearchParams();
  for (const name of [...TEXTS, ...NUMBERS]) {
    if (state[name] !== null && state[name] !== undefined) words.set(name, String(state[name]));
  }
  words.set("keep", state.keep ? "1" : "0");
  if (Object.keys(state.moves).length) words.set("moves", JSON.stringify(state.moves));
  return words.toString();
}

/** Read a state from such a text. Missing values come from `otherwise`; invalid ones are ignored. */
export function read(text, otherwise) {
  const words = new URLSearchParams(text);
  const state = { ...otherwise };
  for (const name of TEXTS) if (words.has(name)) state[name] = words.get(name);
  for (const name of NUMBERS) {
    const number = Number(words.get(name));
    if (words.has(name) && Number.isFinite(number)) state[name] = number;
  }
  if (words.has("keep")) state.keep = words.get("keep") === "1";
  try {
    const moves = JSON.parse(words.get("moves") ?? "{}");
    state.moves = Object.fromEntries(Object.entries(moves).filter(([, amount]) => Number.isFinite(amount)));
  } catch {
    state.moves = {};
  }
  return state;
}
