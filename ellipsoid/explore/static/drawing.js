// Pictures on canvases, the meter, and the map of the first two components.

/** Show picture number `index` of a sheet of `n` below each other. */
export function show(canvas, sheet, index = 0, n = 1) {
  const height = sheet.height / n;
  if (canvas.width !== sheet.width || canvas.height !== height) {
    canvas.width = sheet.width;
    canvas.height = height;
  }
  canvas.getContext("2d").drawImage(sheet, 0, index * height, sheet.width, height, 0, 0, sheet.width, height);
}

const METER_END = 3;

/** Show a gauge; 1 is the boundary. `training` has the gauges of training images at 5, 50 and 95 %. */
export function showGauge(gauge, kept, training) {
  const value = gauge ?? Infinity;
  const place = (number) => `${(100 * Math.min(number, METER_END)) / METER_END}%`;
  const [meter, fill, edge, band] = ["meter", "fill", "edge", "band"].map((id) => document.getElementById(id));
  // Up to rounding: a point that was pulled to the boundary lies on it.
  const isInside = value <= 1 + 1e-4;
  document.querySelector(".stage").classList.toggle("outside", !isInside);
  fill.style.width = place(value);
  edge.style.left = place(1);
  band.hidden = training === null;
  if (training !== null) {
    band.style.left = place(training[0]);
    band.style.width = `calc(${place(training[2])} - ${place(training[0])})`;
  }
  const text = Number.isFinite(value) ? value.toFixed(2) : "∞";
  const held = kept < 1 ? `, pulled ${Math.max(1, Math.round(100 * (1 - kept)))} % of the way to the centre` : "";
  const side = isInside ? "inside" : "outside";
  document.getElementById("gauge").textContent = text;
  document.getElementById("side").textContent = side + held;
  meter.setAttribute("aria-valuenow", String(Math.min(value, METER_END)));
  meter.setAttribute("aria-valuetext", `${text}, ${side}${held}`);
  document.getElementById("training").textContent =
    training === null
      ? "The line marks the boundary of the region, at gauge 1."
      : `The line marks the boundary of the region, at gauge 1. The hatched band holds 90 % of the training images, from ${training[0].toFixed(2)} to ${training[2].toFixed(2)}.`;
  return `gauge ${text}, ${side}`;
}

/** Draw the map: training latents, the ellipse of the level (none if null), draws and the point. */
export function drawMap(canvas, { points, level, draws, point }) {
  const size = Math.round(canvas.clientWidth * devicePixelRatio);
  if (size === 0) return;
  canvas.width = canvas.height = size;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const context = canvas.getContext("2d");
  const reach = Math.max(3.5, 1.15 * Math.min(8, Math.max(Math.abs(point?.[0] ?? 0), Math.abs(point?.[1] ?? 0), level ?? 0)));
  const at = (number) => (size / 2) * (1 + number / reach);
  const dot = (x, y, radius) => {
    context.beginPath();
    context.arc(at(x), at(-y), radius * devicePixelRatio, 0, 2 * Math.PI);
    context.fill();
  };
  context.clearRect(0, 0, size, size);
  context.strokeStyle = colour("rule");
  context.lineWidth = devicePixelRatio;
  context.beginPath();
  context.moveTo(0, at(0));
  context.lineTo(size, at(0));
  context.moveTo(at(0), 0);
  context.lineTo(at(0), size);
  context.stroke();
  context.fillStyle = colour("quiet");
  context.globalAlpha = 0.35;
  for (let i = 0; i + 1 < points.length; i += 2) dot(points[i], points[i + 1], 1.3);
  context.globalAlpha = 1;
  if (level !== null) {
    context.strokeStyle = colour("accent");
    context.lineWidth = 2 * devicePixelRatio;
    context.beginPath();
    context.arc(at(0), at(0), (level * size) / 2 / reach, 0, 2 * Math.PI);
    context.stroke();
  }
  context.fillStyle = colour("accent");
  for (const [x, y] of draws) dot(x, y, 2.5);
  if (point) {
    context.fillStyle = colour("page");
    dot(point[0], point[1], 8);
    context.fillStyle = colour("warn");
    dot(point[0], point[1], 6);
  }
}
