// What moves on the page: slider, group, target, theme, and the order of the runs.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const groups = data.groups.map((group) => unpackGroup(group, data.draws));
const tables = data.groups.map(({ worth, costs }) => ({ worth: worth.map(unpackTable), costs: costs.map(unpackTable) }));
const known = groups.map(() => new Map());
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

const isPlain = (value) => value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4);

// Four digits where that is plain, else as 7.49×10⁹; `spoken` without raised digits.
function number(value, spoken = false) {
  if (isPlain(value)) return String(Number(value.toPrecision(4)));
  const [digits, exponent] = value.toExponential(2).split("e");
  const power = String(Number(exponent));
  return spoken ? `${digits} times 10 to the ${power}` : `${digits}×10${[...power].map((c) => SUPERSCRIPT[c]).join("")}`;
}
// Decimals that show four digits; then `number` with zeros at the end kept, except of a whole number.
const decimals = (value) => Math.max(3 - Number(value.toExponential(3).split("e")[1]), 0);
const digits = (value) => Number.isInteger(value) || !isPlain(value) ? number(value) : value.toFixed(decimals(value));

// Both ends with the decimals of the one that has fewer, unless they are far apart.
function interval(low, high) {
  const [a, b] = [decimals(low), decimals(high)], whole = Number.isInteger(low) && Number.isInteger(high);
  const alike = !whole && Math.abs(a - b) <= 1 && isPlain(low) && isPlain(high);
  const write = alike ? (end) => end.toFixed(Math.min(a, b)) : digits;
  return `${write(low)}\u00a0– ${write(high)}`;
}
const percent = (share) => `${number(Number((100 * share).toPrecision(3)))} %`;

// A quantity whose quantiles the page holds at every stop of the slider.
function unpackTable(table) {
  const numbers = unpack(table, data.budgets.length * data.quantiles.length);
  return { ...table, at: (stop) => Array.from(numbers.subarray(stop * data.quantiles.length, (stop + 1) * data.quantiles.length)) };
}

// Draws of each quantity of a group at a stop of the slider.
function drawsOf(index, stop, quantity) {
  const group = groups[index], flops = data.budgets[stop], params = group.params[stop];
  if (quantity === "loss") return lossDraws(data, group, params, samplesOf(index, stop));
  return optimumDraws(data, group, flops)[quantity === "params_opt" ? "params" : "samples"];
}
const samplesOf = (index, stop) =>
  data.budgets[stop] / groups[index].flops_per_param_sample / groups[index].params[stop];

// Their quantiles; kept, because the slider comes back.
function quantilesOf(index, stop, quantity) {
  const key = `${stop} ${quantity}`;
  if (!known[index].has(key)) known[index].set(key, quantiles(drawsOf(index, stop, quantity), data.quantiles));
  return known[index].get(key);
}

const state = { group: byId("group").selectedIndex, stop: Number(byId("budget").value) };
const fans = groups.map(() => null);
let chart = null;

function cell(row, name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  row.append(made);
  return made;
}

function outlookRow(name, label, unit, values) {
  const row = document.createElement("tr");
  row.dataset.quantity = name;
  cell(row, "th", unit ? `${label} [${unit}]` : label).scope = "row";
  const [low95, low68, median, high68, high95] = values;
  cell(row, "td", digits(median));
  cell(row, "td", interval(low68, high68));
  cell(row, "td", interval(low95, high95));
  row.dataset.values = JSON.stringify(values);
  return row;
}

function showNumbers() {
  const group = groups[state.group], flops = data.budgets[state.stop];
  const [loss, params_opt, samples_opt] = ["loss", "params_opt", "samples_opt"].map(
    (quantity) => quantilesOf(state.group, state.stop, quantity));
  const where = distance(group, flops, group.decades[state.stop]);
  byId("budget-text").textContent = `${number(flops)} FLOP`;
  byId("scale").textContent = scaleOf(group, flops);
  byId("budget").setAttribute("aria-valuetext",
    `${number(flops, true)} FLOP, ${where}: loss ${number(loss[2])} nat, 68 percent from ${number(loss[1])} to ${number(loss[3])}`);
  const far = group.too_far[state.stop];
  byId("distance").textContent = far ? `Not to be trusted: ${far}.` : `${where[0].toUpperCase()}${where.slice(1)}.`;
  byId("distance").className = far ? "badge bad" : "badge";
  byId("plan").textContent = `The best plan for all draws together: N = ${number(group.params[state.stop])} parameters, `
    + `D = ${number(samplesOf(state.group, state.stop))} samples, one epoch; C = ${number(group.flops_per_param_sample)} × N × D`
    + (group.at_bound[state.stop] ? ". It sits on a bound, N = 1 or D = 1, where the law means nothing." : ".");
  byId("outlook").tBodies[0].replaceChildren(
    outlookRow("loss", "loss of a run", "nat", loss),
    outlookRow("params_opt", "best N", "", params_opt),
    outlookRow("samples_opt", "best D", "sample", samples_opt),
  );
  showWorth(loss[2]);
  showCosts();
  showTarget();
  if (chart) moveCursor(chart, flops, loss, colourOf(state.group), `${number(flops)} FLOP`);
}

// The compute in what a reader has at hand: runs that were made, and hours of the cost model's device.
function scaleOf({ name, largest_flops }, flops) {
  const runs = `That is ${number(Number((flops / largest_flops).toPrecision(2)))} times the dearest fitted run of ${name}`;
  if (!data.device) return `${runs}.`;
  const hours = flops / data.device.flops_per_second / 3600;
  return `${runs}, or ${number(Number(hours.toPrecision(2)))} ${data.device.unit} (${data.device.name}) at the median speed of the cost model.`;
}

// What the loss is worth, and whether that is quoted for a loss that no run has reached.
function showWorth(loss) {
  const { worth } = tables[state.group], seen = groups[state.group].lowest_counted_loss;
  byId("worth").hidden = !worth.length;
  byId("worth-table").tBodies[0].replaceChildren(
    ...worth.map(({ name, label, unit, at }) => outlookRow(name, label, unit, at(state.stop))));
  if (!worth.some(({ name }) => name.startsWith("rejection:"))) return byId("reach").replaceChildren();
  const counted = "rejection: of the background, at signal efficiency ε";
  const [below, lowest] = [Number((seen - loss).toPrecision(2)), Number((seen ?? 0).toPrecision(3))];
  byId("reach").textContent = seen !== null && loss < seen
    ? `${counted}; it is carried ${number(below)} nat below the lowest loss that was counted at, ${number(lowest)} nat.`
    : `${counted}.`;
}

// The split of the plan's cost: medians as a bar, intervals in a table.
function showCosts() {
  const { costs } = tables[state.group], { currency } = groups[state.group];
  byId("costs").hidden = !costs.length;
  if (!costs.length) return;
  const parts = costs.map(({ name, at }) => ({ name, values: at(state.stop) }));
  byId("costs-table").tBodies[0].replaceChildren(
    ...parts.map(({ name, values }) => outlookRow(`cost:${name}`, name === "total" ? "in all" : name, currency, values)));
  const shares = parts.filter(({ name }) => name !== "total").map(({ name, values }) => ({ name, money: values[2] }));
  drawBar(byId("costs-bar"), shares);
}

function distance({ name, smallest_flops }, flops, decades) {
  if (decades > 0) return `${decades.toFixed(1)} decades beyond the runs of ${name}`;
  return flops < smallest_flops ? `below the cheapest run of ${name}` : `within the runs of ${name}`;
}

function showTarget() {
  const target = Number(byId("target").value), draws = drawsOf(state.group, state.stop, "loss");
  let reached = 0;
  for (const loss of draws) reached += loss <= target;
  byId("reached").textContent = byId("target").value === "" ? "" : percent(reached / draws.length);
}

function showChart(width = byId("chart").clientWidth) {
  chart = drawChart(byId("chart"), width, data, fans, state.group);
  showNumbers();
}

function chooseGroup() {
  state.group = byId("group").selectedIndex;
  showChart();
}

// The fans are computed when the numbers stand, that of the chosen group first.
function computeNextFan() {
  const next = fans[state.group] ? fans.findIndex((fan) => !fan) : state.group;
  if (next < 0) return showAgreement();
  fans[next] = data.budgets.map((_, stop) => quantilesOf(next, stop, "loss"));
  showChart();
  setTimeout(computeNextFan);
}

// Recompute what the command wrote into this page, and say how well it agrees.
function showAgreement() {
  let worst = 0;
  for (const { group, stop, quantity, values } of data.checks) {
    quantilesOf(group, stop, quantity).forEach((value, q) => {
      worst = Math.max(worst, Math.abs(value / values[q] - 1));
    });
  }
  const count = data.checks.length * data.quantiles.length;
  byId("agreement").textContent = data.stride > 1
    ? `${count} quantiles recomputed here from the draws that the page holds differ from those of the command, `
      + `which has all of them, by at most ${percent(worst)}`
    : `${count} quantiles recomputed here agree with those of the command to ${worst.toExponential(0)}`
      + (worst <= 1e-6 ? "" : ", which is worse than 1e-6: do not use the slider, and report this browser");
  document.documentElement.dataset.ready = "yes";
}

function sortRuns(head, column) {
  const table = head.closest("table"), direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what is not known comes last
    return direction * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

// Where a table is cut off at the edge of the page, the line above it says so.
function hintAtTables() {
  for (const region of document.querySelectorAll(".scroll")) {
    region.previousElementSibling.hidden = region.scrollWidth <= region.clientWidth + 1;
  }
}

function switchTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
}
function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
const nameTheme = () => { byId("theme").textContent = isDark() ? "Light theme" : "Dark theme"; };

function start() {
  byId("live").hidden = byId("theme").hidden = false;
  byId("target").value = Number(quantilesOf(state.group, state.stop, "loss")[2].toPrecision(2));
  byId("budget").addEventListener("input", (event) => { state.stop = event.target.valueAsNumber; showNumbers(); });
  byId("group").addEventListener("change", chooseGroup);
  byId("target").addEventListener("input", showTarget);
  byId("theme").addEventListener("click", switchTheme);
  [...byId("runs-table").tHead.rows[0].cells].forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => sortRuns(head, column));
  });
  drawLegend(byId("legend"), data);
  nameTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
  chooseGroup();
  addEventListener("beforeprint", () => showChart(640));
  addEventListener("afterprint", () => showChart());
  let width = byId("chart").clientWidth;
  new ResizeObserver(() => {
    if (byId("chart").clientWidth === width) return;
    width = byId("chart").clientWidth;
    showChart();
  }).observe(byId("chart"));
  const tables = new ResizeObserver(hintAtTables);
  for (const region of document.querySelectorAll(".scroll")) {
    tables.observe(region);
    tables.observe(region.firstElementChild);
  }
  setTimeout(computeNextFan);
}
start();
