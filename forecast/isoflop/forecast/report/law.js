// The law, draw by draw, in plain numbers: what predict.py and allocate.py compute at one epoch.
// Every function returns a Float64Array with one number a draw.

function unpack(packed, draws) {
  if ("constant" in packed) return new Float64Array(draws).fill(packed.constant);
  const text = atob(packed.fixed ?? packed.doubles);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer);
  const column = new Float64Array(draws);
  for (let i = 0; i < draws; i++) {
    column[i] = "fixed" in packed
      ? packed.low + packed.step * view.getUint32(4 * i, true)
      : view.getFloat64(8 * i, true);
  }
  return column;
}

function unpackGroup(group, draws) {
  const columns = {};
  for (const [name, packed] of Object.entries(group.columns)) columns[name] = unpack(packed, draws);
  const unpacked = (rows) => rows.map((packed) => unpack(packed, draws));
  return { ...group, columns, walk: unpacked(group.walk), walls: unpacked(group.walls) };
}

function logAddExp(a, b) {
  const high = Math.max(a, b);
  return high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

// Decades of compute beyond the dearest run of the fit, negative within: predict._decades.
function decadesBeyond(group, params, samples) {
  return Math.log10((group.flops_per_param_sample * params * samples) / group.largest_flops);
}

// Weights of the knots of the law's error within the runs: laws.knot_weights.
function knotWeights(group, beyond) {
  const knots = group.walk.length;
  const span = Math.log10(group.largest_flops / group.smallest_flops);
  const place = Math.min(Math.max((knots * -beyond) / Math.max(span, 1e-9), 0), knots);
  return group.walk.map((_, k) => Math.max(1 - Math.abs(place - (k + 1)), 0));
}

// Loss [nat] of a new run of N parameters and D distinct samples: predict.predictive_draws.
function lossDraws(data, group, params, samples) {
  const { scatter, scatter_slope, scatter_off, drift } = group.columns;
  const decades = decadesBeyond(group, params, samples);
  const weights = knotWeights(group, decades);
  const beyond = Math.max(decades, 0);
  const logN = Math.log(params), logD = Math.log(samples);
  const edge = 0.5 * beyond * Math.LN10;
  const logRatio = Math.log(samples / data.sigma_samples);
  const ceiling = data.ceiling ?? Infinity;
  // What the run loses to the best of its compute: laws.excess, at one law for all draws.
  const bestN = bestLogN(group.valley, 0, logN + logD);
  const best = lawLoss(group.valley, 0, bestN, logN + logD - bestN);
  const lost = Math.max(Math.log(lawLoss(group.valley, 0, logN, logD) / best), 0);
  const wall = group.walls[logN > bestN ? 1 : 0];
  const loss = new Float64Array(data.draws);
  for (let i = 0; i < loss.length; i++) {
    let within = wall[i] * lost;
    for (let k = 0; k < weights.length; k++) within += weights[k] * group.walk[k][i];
    const value = lawLoss(group.columns, i, logN, logD) * Math.exp(within);
    const along = scatter[i] * Math.exp(scatter_slope[i] * logRatio);
    let error = Math.sign(along) * Math.hypot(along, scatter_off[i] * lost);
    if (beyond > 0) error += drift[i] * Math.sqrt(beyond) * fallPerDecade(group.columns, i, logN - edge, logD - edge);
    const drawn = value * Math.exp(Math.min(Math.max(error, -500), 500));
    loss[i] = drawn / (1 + drawn / ceiling);
  }
  return loss;
}

// Loss [nat] of the law at N and D: laws.loss.
function lawLoss({ loss_inf, log_A, log_B, alpha, beta, gamma }, i, logN, logD) {
  const u = logAddExp(log_A[i] - alpha[i] * logN, log_B[i] - beta[i] * logD);
  return loss_inf[i] + Math.exp(gamma[i] * u);
}

// Logarithm of the best N of a product N D: laws.compute_optimal.
function bestLogN({ log_A, log_B, alpha, beta }, i, product) {
  const balance = Math.log(alpha[i] / beta[i]) + log_A[i] - log_B[i];
  return (balance + beta[i] * product) / (alpha[i] + beta[i]);
}

// -d log L / d log10 C where N and D grow together: laws.fall_per_decade.
function fallPerDecade({ loss_inf, log_A, log_B, alpha, beta, gamma }, i, logN, logD) {
  const n = log_A[i] - alpha[i] * logN, d = log_B[i] - beta[i] * logD;
  const u = logAddExp(n, d);
  const slope = alpha[i] * Math.exp(n - u) + beta[i] * Math.exp(d - u);
  const reducible = gamma[i] * u - logAddExp(gamma[i] * u, Math.log(loss_inf[i]));
  return Math.exp(reducible) * gamma[i] * slope * (Math.LN10 / 2);
}

// Each draw's own best N and D of a budget [FLOP]: allocate.optimal, kept to N >= 1 and D >= 1.
function optimumDraws(data, group, flops) {
  const product = Math.log(flops / group.flops_per_param_sample);
  const params = new Float64Array(data.draws), samples = new Float64Array(data.draws);
  const edge = 2e-5;
  for (let i = 0; i < params.length; i++) {
    let logN = Math.min(Math.max(bestLogN(group.columns, i, product), 0), product);
    if (logN < edge) logN = 0;
    else if (logN > product - edge) logN = product;
    params[i] = Math.exp(logN);
    samples[i] = Math.exp(product - logN);
  }
  return { params, samples };
}

// Quantiles by linear interpolation, as numpy.quantile has them.
function quantiles(values, probabilities) {
  const sorted = Float64Array.from(values).sort();
  return probabilities.map((q) => {
    const place = q * (sorted.length - 1), below = Math.floor(place), share = place - below;
    const low = sorted[below], high = sorted[Math.min(below + 1, sorted.length - 1)];
    return low + (high - low) * share;
  });
}
