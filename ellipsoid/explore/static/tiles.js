// Rows and grids of small pictures.

import { show } from "./drawing.js";
import { element } from "./sliders.js";

/** Show pictures as buttons, described by `texts`; `pressed` is the chosen one. */
export function showButtons(list, sheet, texts, pressed, press) {
  if (list.childElementCount !== texts.length) {
    list.replaceChildren(
      ...texts.map((_, index) => {
        const tile = element("button", "tile");
        tile.type = "button";
        const canvas = element("canvas");
        canvas.setAttribute("aria-hidden", "true");
        tile.append(canvas, element("span"));
        tile.addEventListener("click", () => list.press(index));
        return tile;
      }),
    );
  }
  list.press = press;
  texts.forEach((text, index) => {
    const tile = list.children[index];
    const [canvas, span] = tile.children;
    canvas.hidden = sheet === null;
    if (sheet !== null) show(canvas, sheet, index, texts.length);
    span.textContent = sheet === null ? String(index + 1) : "";
    tile.setAttribute("aria-label", text);
    tile.title = text;
  });
  mark(list, pressed);
}

/** Mark the chosen picture. */
export function mark(list, pressed) {
  [...list.children].forEach((tile, index) => tile.setAttribute("aria-pressed", String(index === pressed)));
}

/** Show pictures with captions. */
export function showFigures(list, sheet, captions, texts) {
  list.replaceChildren(
    ...captions.map((words, index) => {
      const figure = element("figure");
      const caption = element("figcaption");
      caption.textContent = words;
      if (sheet !== null) {
        const canvas = element("canvas");
        canvas.setAttribute("role", "img");
        canvas.setAttribute("aria-label", texts[index]);
        show(canvas, sheet, index, captions.length);
        figure.append(canvas);
      }
      figure.append(caption);
      return figure;
    }),
  );
}
