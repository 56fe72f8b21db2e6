// Sliders in standard deviations from the centre, one for each axis from the server.

const REACH = 4;

/** Axes as sliders in a list. `moved(id, amount)` is called during a move, and `done()` at its end. */
export class Sliders {
  #list;
  #moved;
  #done;
  #rows = new Map();

  constructor(list, moved, done) {
    this.#list = list;
    this.#moved = moved;
    this.#done = done;
  }

  /** Show axes, each with the position of the point along it, and moves from there. */
  show(axes, moves) {
    const ids = axes.map((axis) => axis.id);
    if (ids.join("\n") !== [...this.#rows.keys()].join("\n")) this.#build(axes);
    for (const axis of axes) {
      const row = this.#rows.get(axis.id);
      row.at = axis.at;
      const reach = Math.max(REACH, Math.ceil(Math.abs(axis.at)) + 1);
      row.input.min = -reach;
      row.input.max = reach;
      row.track.style.setProperty("--start", String((axis.at + reach) / (2 * reach)));
    }
    this.place(moves);
  }

  /** Set the sliders to the position of the point after its moves. */
  place(moves) {
    for (const [id, row] of this.#rows) {
      if (document.activeElement !== row.input || !row.dragged) row.input.value = row.at + (moves[id] ?? 0);
      this.#say(row, moves[id] ?? 0);
    }
  }

  /** Mark the range of each slider in which the point stays inside, if it is known. */
  mark(spans) {
    for (const [id, row] of this.#rows) {
      const reach = Number(row.input.max);
      const place = (at) => Math.min(1, Math.max(0, (at + reach) / (2 * reach)));
      const span = spans[id];
      row.track.classList.toggle("spanned", span !== undefined);
      if (span === undefined) continue;
      row.track.style.setProperty("--low", String(place(span[0])));
      row.track.style.setProperty("--high", String(place(span[1])));
    }
  }

  #say(row, amount) {
    const value = row.at + amount;
    row.output.textContent = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
    row.input.setAttribute("aria-valuetext", `${value.toFixed(2)} standard deviations`);
    row.element.classList.toggle("moved", amount !== 0);
  }

  #build(axes) {
    this.#rows.clear();
    this.#list.replaceChildren(
      ...axes.map((axis) => {
        const row = { at: axis.at, dragged: false };
        row.element = element("label", "slider");
        const name = element("span");
        name.textContent = axis.id.startsWith("c") ? axis.name.replace("component ", "") : axis.name;
        name.title = axis.name;
        if (axis.share !== null) {
          const share = element("small");
          share.textContent = ` ${(100 * axis.share).toFixed(1)} %`;
          share.title = "share of the variance";
          name.append(share);
        }
        row.track = element("span", "track");
        row.input = element("input");
        Object.assign(row.input, { type: "range", min: -REACH, max: REACH, step: 0.05, value: axis.at });
        row.input.setAttribute("aria-label", axis.name);
        row.track.append(row.input);
        row.output = element("output");
        row.element.append(name, row.track, row.output);
        const set = (amount) => {
          this.#say(row, amount);
          this.#moved(axis.id, amount);
        };
        row.input.addEventListener("input", (event) => {
          row.dragged = true;
          // The steps of the slider may miss the starting position of the point.
          const amount = Number(row.input.value) - row.at;
          set(Math.abs(amount) < 0.025 ? 0 : amount, event);
        });
        row.input.addEventListener("change", () => {
          row.dragged = false;
          this.#done();
        });
        row.input.addEventListener("dblclick", () => {
          row.dragged = false;
          row.input.value = row.at;
          set(0);
          this.#done();
        });
        this.#rows.set(axis.id, row);
        return row.element;
      }),
    );
  }
}

export function element(tag, ...classes) {
  const made = document.createElement(tag);
  made.classList.add(...classes);
  return made;
}
