// A slider selects the column of a sheet of images. Without this script the page shows whole sheets.
function enliven(figure) {
  const sheet = figure.querySelector("img");
  const [rows, columns, low, high] = ["rows", "columns", "low", "high"].map((name) => Number(figure.dataset[name]));
  const width = sheet.naturalWidth / columns;
  const height = sheet.naturalHeight / rows;
  const canvas = Object.assign(document.createElement("canvas"), { width: rows * width, height });
  canvas.setAttribute("role", "img");
  const control = document.createElement("label");
  const name = Object.assign(document.createElement("b"), { textContent: figure.dataset.label });
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: columns - 1 });
  slider.value = (columns - 1) / 2;
  const value = document.createElement("i");
  const show = () => {
    const column = Number(slider.value);
    const context = canvas.getContext("2d");
    for (let row = 0; row < rows; row += 1) {
      context.drawImage(sheet, column * width, row * height, width, height, row * width, 0, width, height);
    }
    const amount = low + ((high - low) * column) / (columns - 1);
    value.textContent = (amount > 0 ? "+" : "") + amount.toFixed(2).replace("-", "\u2212");
    const text = `${amount.toFixed(2)} standard deviations`;
    slider.setAttribute("aria-valuetext", text);
    canvas.setAttribute("aria-label", `${figure.dataset.label}: ${text}`);
  };
  control.append(name, slider, value);
  sheet.after(canvas, control);
  figure.classList.add("live");
  slider.addEventListener("input", show);
  show();
}
for (const figure of document.querySelectorAll("figure.walk")) {
  figure.querySelector("img").decode().then(() => enliven(figure), () => {});
}
