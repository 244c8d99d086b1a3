// Loss against compute, drawn as SVG; the look is that of the still figures. It computes nothing.

const SHAPES = {
  circle: (r) => `M${-r},0A${r},${r} 0 1 0 ${r},0A${r},${r} 0 1 0 ${-r},0Z`,
  square: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  triangle: (r) => `M0,${-1.2 * r}L${1.1 * r},${0.9 * r}H${-1.1 * r}Z`,
  diamond: (r) => `M0,${-1.3 * r}L${1.1 * r},0L0,${1.3 * r}L${-1.1 * r},0Z`,
};
const GROUPS_WITH_BANDS = 4;

const colourOf = (index) => `var(--group-${index % 7})`;
const shapeOf = (index, radius) => Object.values(SHAPES)[index % 4](radius);

function element(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// The scales of a chart `width` pixels wide that holds these numbers; both axes are logarithmic.
function chartScales(width, flops, losses) {
  const box = { left: 62, right: width - 12, top: 12, bottom: Math.round(Math.min(0.3 * width + 170, 430)) };
  const [x0, x1] = [Math.log10(Math.min(...flops)) - 0.15, Math.log10(Math.max(...flops)) + 0.25];
  const [y0, y1] = [Math.log10(Math.min(...losses)) - 0.02, Math.log10(Math.max(...losses)) + 0.02];
  return {
    box,
    x: (value) => box.left + ((Math.log10(value) - x0) / (x1 - x0)) * (box.right - box.left),
    y: (value) => box.bottom - ((Math.log10(value) - y0) / (y1 - y0)) * (box.bottom - box.top),
    decades: range(Math.ceil(x0), Math.floor(x1)),
    ticks: lossTicks(10 ** y0, 10 ** y1, (box.bottom - box.top) / 45),
  };
}

const range = (first, last) => Array.from({ length: Math.max(last - first + 1, 0) }, (_, i) => first + i);

// Round numbers between two losses: decades times 1, 2, 5, or even steps where they span little.
function lossTicks(low, high, most) {
  const powers = range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)));
  const coarse = powers.flatMap((k) => [1, 2, 5].map((m) => m * 10 ** k)).filter((v) => v >= low && v <= high);
  if (coarse.length >= 4) return coarse;
  const rough = (high - low) / Math.max(most, 2), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  return range(Math.ceil(low / step), Math.floor(high / step)).map((k) => k * step);
}

// Everything that stays while the slider moves, `space` pixels wide, for the group `chosen`.
function drawChart(holder, space, data, fans, chosen) {
  const width = Math.max(space, 280);
  const shown = fans.filter((fan) => fan);
  const ends = fans.flatMap((fan, index) => (fan ? fanStops(data, index).flatMap((i) => [fan[i][0], fan[i][4]]) : []));
  const losses = [...ends, ...data.runs.flatMap((run) => run.loss)];
  const scales = chartScales(width, [...data.budgets, ...data.runs.flatMap((run) => run.flops)], losses);
  const { box, x, y } = scales;
  const height = box.bottom + 46;
  const svg = element(document.createDocumentFragment(), "svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": "Loss in nat against training compute in FLOP; the table below has the numbers.",
  });
  markDataEnd(svg, data.groups[chosen], scales);
  drawAxes(svg, scales);
  data.runs.forEach((runs) => drawRuns(svg, runs, scales));
  const bands = shown.length <= GROUPS_WITH_BANDS;
  fans.forEach((fan, index) => fan && index !== chosen && drawFan(svg, data, fan, index, scales, bands));
  if (fans[chosen]) drawFan(svg, data, fans[chosen], chosen, scales, true);
  const cursor = element(svg, "g", {});
  holder.replaceChildren(svg);
  return { cursor, scales };
}

function markDataEnd(svg, group, { box, x }) {
  const end = Math.min(x(group.largest_flops), box.right);
  element(svg, "rect", { class: "shade", x: end, y: box.top, width: box.right - end, height: box.bottom - box.top });
  const roomy = box.right - end > 110;
  element(svg, "text", { class: "quiet", x: roomy ? end + 5 : end - 5, y: box.bottom - 8, "text-anchor": roomy ? "start" : "end" }, "end of the fit");
}

function drawAxes(svg, { box, x, y, decades, ticks }) {
  const spacing = decades.length > 1 ? x(10 ** decades[1]) - x(10 ** decades[0]) : 99;
  const every = Math.ceil(34 / spacing);
  for (const k of decades) {
    element(svg, "line", { class: "tick", x1: x(10 ** k), x2: x(10 ** k), y1: box.bottom, y2: box.bottom + 5 });
    if (k % every) continue;
    const label = element(svg, "text", { x: x(10 ** k), y: box.bottom + 19, "text-anchor": "middle" }, "10");
    element(label, "tspan", { dy: -5, "font-size": 9 }, String(k).replace("-", "−"));
  }
  for (const loss of ticks) {
    element(svg, "line", { class: "tick", x1: box.left - 5, x2: box.left, y1: y(loss), y2: y(loss) });
    element(svg, "text", { x: box.left - 8, y: y(loss) + 4, "text-anchor": "end" }, String(Number(loss.toPrecision(4))));
  }
  element(svg, "rect", { class: "frame", x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top });
  element(svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 40, "text-anchor": "middle" }, "training compute C [FLOP]");
  element(svg, "text", { transform: `translate(14 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "validation loss L [nat]");
}

function drawRuns(svg, { group, held_out, flops, loss }, { x, y }) {
  const colour = colourOf(group);
  const look = held_out ? { fill: "none", stroke: colour, "stroke-width": 1.3 } : { fill: colour, "fill-opacity": 0.55 };
  const d = shapeOf(group, held_out ? 4 : 2.8);
  flops.forEach((at, i) => {
    element(svg, "path", { d, transform: `translate(${x(at).toFixed(1)} ${y(loss[i]).toFixed(1)})`, ...look });
  });
}

// Stops of the slider where the fan of a group is drawn: from its cheapest run on.
function fanStops(data, index) {
  const stops = range(0, data.budgets.length - 1);
  const above = stops.filter((i) => data.budgets[i] >= data.groups[index].smallest_flops);
  return above.length ? above : stops;
}

function drawFan(svg, data, fan, index, { x, y }, bands) {
  const colour = colourOf(index);
  const line = (q, points) => points.map((i) => `${x(data.budgets[i]).toFixed(1)},${y(fan[i][q]).toFixed(1)}`);
  const all = fanStops(data, index);
  for (const [low, high, opacity] of bands ? [[0, 4, 0.14], [1, 3, 0.28]] : []) {
    element(svg, "polygon", { points: [...line(low, all), ...line(high, all.slice().reverse())].join(" "), fill: colour, "fill-opacity": opacity });
  }
  const within = all.filter((i) => data.budgets[i] <= data.groups[index].largest_flops);
  const beyond = all.slice(Math.max(within.length - 1, 0));  // no gap between the two
  element(svg, "polyline", { points: line(2, within).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8 });
  element(svg, "polyline", { points: line(2, beyond).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": "6 4" });
}

// The budget of the slider and the interval of the chosen group there.
function moveCursor({ cursor, scales }, flops, loss, colour, text) {
  const { box, x, y } = scales;
  const at = x(flops), left = at > (box.left + box.right) / 2;
  cursor.replaceChildren();
  element(cursor, "line", { class: "cursor", x1: at, x2: at, y1: box.top, y2: box.bottom });
  element(cursor, "line", { x1: at, x2: at, y1: y(loss[0]), y2: y(loss[4]), stroke: colour, "stroke-width": 2 });
  element(cursor, "line", { x1: at, x2: at, y1: y(loss[1]), y2: y(loss[3]), stroke: colour, "stroke-width": 5 });
  element(cursor, "circle", { cx: at, cy: y(loss[2]), r: 5, fill: "var(--paper)", stroke: colour, "stroke-width": 2 });
  element(cursor, "text", { class: "halo", x: left ? at - 8 : at + 8, y: box.top + 16, "text-anchor": left ? "end" : "start" }, text);
}

function drawLegend(holder, data) {
  holder.replaceChildren(...data.groups.map(({ name }, index) => {
    const entry = document.createElement("span");
    const key = element(entry, "svg", { viewBox: "0 0 26 14", "aria-hidden": "true" });
    element(key, "line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: colourOf(index), "stroke-width": 2 });
    element(key, "path", { d: shapeOf(index, 4), transform: "translate(13 7)", fill: colourOf(index) });
    entry.append(name);
    return entry;
  }));
  if (!data.runs.some((run) => run.held_out)) return;
  const entry = document.createElement("span");
  const key = element(entry, "svg", { viewBox: "0 0 26 14", "aria-hidden": "true" });
  element(key, "path", { d: shapeOf(0, 4), transform: "translate(13 7)", fill: "none", stroke: "currentColor", "stroke-width": 1.3 });
  entry.append("kept apart from the fit");
  holder.append(entry);
}

// Shares of a sum as one bar with its key.
function drawBar(holder, parts) {
  const sum = parts.reduce((total, { money }) => total + money, 0) || 1;
  const svg = element(document.createDocumentFragment(), "svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
  let at = 0;
  parts.forEach(({ money }, index) => {
    const share = (100 * money) / sum;
    element(svg, "rect", { x: at, width: share, y: 0, height: 4, fill: colourOf(index) });
    at += share;
  });
  const key = document.createElement("div");
  key.className = "legend";
  key.append(...parts.map(({ name, money }, index) => {
    const entry = document.createElement("span");
    const square = element(entry, "svg", { viewBox: "0 0 26 14", "aria-hidden": "true" });
    element(square, "rect", { x: 6, y: 0, width: 14, height: 14, fill: colourOf(index) });
    entry.append(`${name} ${((100 * money) / sum).toPrecision(2)} %`);
    return entry;
  }));
  holder.replaceChildren(svg, key);
}
