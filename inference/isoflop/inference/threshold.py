"""From which size on do networks overfit the samples they are shown again? N_thr ∝ U^x.

Each run over repeated samples is labelled from its curve, all runs over the same number of passes.
A run that is trained for longer has longer to overfit, and sweeps give few samples more passes:
labels from every pass that a run was given would put that into x. The labels are Bernoulli with

    logit P(overfitting) = k (log N − log N_thr),    log N_thr = a_g + x log(U / U_0),

where U_0 is the geometric mean of the runs' distinct samples. The exponent x and the slope k are
common to all groups, the offsets a_g are partially pooled. arXiv:2602.15781 finds N ∝ D^0.47 on
jets (caption of Fig. 3), from a bootstrap of chosen points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import numpyro
import numpyro.distributions as dist
import pandas as pd
import xarray as xr
from jax import Array

from isoflop.inference.density import Target
from isoflop.inference.diagnostics import MAX_DIVERGENT, MAX_RHAT, MIN_ESS, Verdict
from isoflop.inference.mode import find_mode
from isoflop.inference.priors import Normal
from isoflop.inference.sampler import DEFAULT_LENGTHS, Lengths, sample

Floats = npt.NDArray[np.floating]

PUBLISHED_EXPONENT = 0.47
"""x of arXiv:2602.15781, caption of Fig. 3."""

LABELS = ("overfitting", "underfitting", "undecided")

RISE = 0.01
"""Relative rise of the validation loss above its best that counts, as in the records' status."""
STALL = 5
"""Passes without a new best that count."""
ENOUGH_PASSES = 16
"""Passes over which every run is judged; what comes after them is not looked at."""
RULE = (
    f"every run is judged over its first {ENOUGH_PASSES} passes; overfitting: after its best pass "
    "the training loss fell further, but the validation loss ended more than "
    f"{RISE:.0%} above the best or made no new best in {STALL} passes; underfitting: none of this "
    f"in {ENOUGH_PASSES} passes; shorter runs that show none of it are undecided"
)

ACCEPT = 0.995
"""Aim of the step size: groups with one label have a wide tail, where longer steps diverge."""
MIN_SIDE = 5
"""Runs of either label below which the place of the threshold hangs on one or two of them."""
MAX_WIDTH_RATIO = 0.7
"""68 % interval of x over that of its prior above which the prior decides it."""

QUANTILES = {"median": 0.5, "low_68": 0.16, "high_68": 0.84, "low_95": 0.025, "high_95": 0.975}
_MARGIN = 1.5  # of the band beyond the runs, as a factor in U

EXPONENT = Normal(
    0.5, 0.5, "0: the size alone matters, 1: parameters per sample; 0.47 on jets (arXiv:2602.15781)"
)
OFFSET = Normal(0.0, 3.0, "log N_thr at U_0 about the runs' mean log N, within a factor 20 (68 %)")
LOG_SLOPE = Normal(
    math.log(1.5), 0.8, "from 10 to 90 % within a factor 20 in N; a factor 2 to 3e6 within 2 sigma"
)
LOG_SPREAD = Normal(
    math.log(0.5), 0.6, "log N_thr of groups differs by 0.5: richer inputs are memorised sooner"
)


class Labels(NamedTuple):
    """What the model sees of the runs, each of shape (runs,)."""

    log_n: Array | Floats
    """log N, about its mean over the runs."""
    log_u: Array | Floats
    """log U, about its mean over the runs."""
    group: Array | npt.NDArray[np.intp]
    """Number of the group."""
    overfits: Array | Floats
    """1 where the run overfits, 0 where it underfits."""


@dataclass(frozen=True)
class Threshold:
    """The posterior of the overfitting threshold."""

    groups: tuple[str, ...]
    """Names of the groups."""
    runs: pd.DataFrame
    """All runs over repeated samples: run_id, group, params, unique_samples, passes, label; the
    passes are those that were judged."""
    exponent: Floats
    """x, shape (chain, draw)."""
    slope: Floats
    """k, growth of the logit per e-fold in N, shape (chain, draw)."""
    log_offset: Floats
    """log N_thr at `centre` distinct samples, shape (chain, draw, group)."""
    centre: float
    """U_0 [sample]."""
    divergent: int
    """Divergent transitions after warm-up."""

    @property
    def counts(self) -> dict[str, int]:
        """Runs by label."""
        found = self.runs["label"].value_counts()
        return {name: int(found.get(name, 0)) for name in LABELS}

    @property
    def one_sided(self) -> dict[str, str]:
        """Groups with runs of one label alone, and that label: the others set their threshold."""
        decided = self.runs[self.runs["label"] != "undecided"]
        kinds = {group: rows["label"].unique() for group, rows in decided.groupby("group")}
        return {str(group): str(found[0]) for group, found in kinds.items() if len(found) == 1}

    def sizes(self, unique: Sequence[float] | Floats, group: str) -> Floats:
        """Draws of N_thr at the given distinct samples, shape (draws, points)."""
        offset = self.log_offset[..., self.groups.index(group)].ravel()
        decades = np.log(np.asarray(unique, float) / self.centre)
        return np.asarray(np.exp(offset[:, None] + np.outer(self.exponent.ravel(), decades)))


def label_curve(train_loss: Floats, loss: Floats) -> str:
    """The label of one run by `RULE`, from the losses after the passes judged [nat], (passes,)."""
    best = int(np.argmin(loss))
    learned_on = train_loss[-1] < train_loss[best]
    stalled = len(loss) - 1 - best >= STALL
    if learned_on and (loss[-1] > (1 + RISE) * loss[best] or stalled):
        return "overfitting"
    return "underfitting" if len(loss) >= ENOUGH_PASSES else "undecided"


def label_runs(
    records: pd.DataFrame, curves: pd.DataFrame, *, every_pass: bool = False
) -> pd.DataFrame:
    """Label every run over repeated samples; columns as in `Threshold.runs`.

    A run counts as repeated when its curve has a validation loss for two or more passes. Diverged
    runs are left out. With `every_pass` a run is judged over all the passes that it was given, not
    over the first `ENOUGH_PASSES`: then runs that differ in them do not compare.
    """
    measured = curves.dropna(subset="loss").sort_values("samples", kind="stable")
    first = measured.groupby("run_id").head(ENOUGH_PASSES)
    rows = []
    for run_id, curve in (measured if every_pass else first).groupby("run_id", sort=False):
        found = records[(records["run_id"] == run_id) & (records["status"] != "diverged")]
        if found.empty or len(curve) < 2:
            continue
        run = found.iloc[0]
        label = label_curve(curve["train_loss"].to_numpy(float), curve["loss"].to_numpy(float))
        rows.append((run_id, run["group"], run["params"], run["unique_samples"], len(curve), label))
    columns = ["run_id", "group", "params", "unique_samples", "passes", "label"]
    return pd.DataFrame(rows, columns=columns)


def fit_threshold(
    runs: pd.DataFrame, *, lengths: Lengths = DEFAULT_LENGTHS, seed: int = 0
) -> Threshold:
    """The posterior of the threshold from runs that `label_runs` labelled.

    Raises `ValueError` where the labelled runs are all of one kind, for then there is no threshold
    among them.
    """
    decided = runs[runs["label"] != "undecided"]
    kinds = decided["label"].unique()
    if len(kinds) < 2:
        found = f"all {len(decided)} labelled runs are {kinds[0]}" if len(kinds) else "none"
        raise ValueError(
            f"no threshold among {len(runs)} runs over repeated samples: {found} "
            f"({len(runs) - len(decided)} undecided); train larger networks on fewer samples to "
            "see overfitting, smaller ones on more to see underfitting, each for "
            f"{ENOUGH_PASSES} passes"
        )
    groups = tuple(sorted(decided["group"].unique()))
    log_n, log_u = (
        np.log(decided["params"].to_numpy()),
        np.log(decided["unique_samples"].to_numpy()),
    )
    labels = Labels(
        log_n - log_n.mean(),
        log_u - log_u.mean(),
        decided["group"].map(groups.index).to_numpy(int),
        np.where(decided["label"] == "overfitting", 1.0, 0.0),
    )
    sites, stats = draw_threshold(labels, len(groups), lengths=lengths, seed=seed)
    return Threshold(
        groups=groups,
        runs=runs,
        exponent=sites["exponent"],
        slope=sites["slope"],
        log_offset=sites["offset"] + log_n.mean(),
        centre=float(np.exp(log_u.mean())),
        divergent=int(stats["diverging"].sum()),
    )


def draw_threshold(
    labels: Labels, groups: int, *, lengths: Lengths, seed: int, target: Target | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Sample the model: its sites, and the sampler's statistics, shape (chain, draw, ...)."""
    target = target or threshold_target(labels, groups, lengths)
    target.compile_ahead(labels)
    mode = find_mode(target, labels, seed=seed)
    drawn = sample(target, labels, mode, lengths, seed=seed)
    return drawn.sites, drawn.stats


def threshold_target(labels: Labels, groups: int, lengths: Lengths) -> Target:
    """The model's compiled programs, for all tables of as many runs and groups."""
    return Target(threshold_model, labels, groups, warmup=lengths.warmup, accept=ACCEPT)


def threshold_model(labels: Labels, groups: int) -> None:
    """The logistic model of the module's first lines; sites are sampled in units of their prior."""
    exponent = numpyro.deterministic("exponent", _scaled("x", EXPONENT))
    slope = numpyro.deterministic("slope", jnp.exp(_scaled("log_slope", LOG_SLOPE)))
    offset = jnp.broadcast_to(_scaled("centre", OFFSET), (groups,))
    if groups > 1:
        spread = jnp.exp(_scaled("log_spread", LOG_SPREAD))
        deviation = numpyro.sample("deviation", dist.Normal(0.0, 1.0).expand([groups]).to_event(1))
        offset = offset + spread * deviation
    numpyro.deterministic("offset", offset)
    above = labels.log_n - offset[labels.group] - exponent * labels.log_u
    numpyro.sample("overfits_obs", dist.Bernoulli(logits=slope * above), obs=labels.overfits)


def threshold_band(threshold: Threshold, *, points: int = 60) -> pd.DataFrame:
    """Quantiles of N_thr over the range of the labelled runs' U, rows for each group.

    Columns group, unique_samples, median, low_68, high_68, low_95, high_95.
    """
    used = threshold.runs.loc[threshold.runs["label"] != "undecided", "unique_samples"]
    unique = np.geomspace(used.min() / _MARGIN, used.max() * _MARGIN, points)
    bands = []
    for group in threshold.groups:
        columns = dict(zip(QUANTILES, _quantiles(threshold.sizes(unique, group)), strict=True))
        bands.append(pd.DataFrame({"group": group, "unique_samples": unique, **columns}))
    return pd.concat(bands, ignore_index=True)


def threshold_table(threshold: Threshold) -> pd.DataFrame:
    """Quantiles, R-hat and effective draws of x, of the slope k and of the groups' N_thr at U_0."""
    import arviz_stats as azs  # two seconds to import

    sizes = {
        f"N_thr[{name}]": threshold.log_offset[..., i] for i, name in enumerate(threshold.groups)
    }
    draws = {"x": threshold.exponent, "k": threshold.slope, **sizes}
    chains = xr.Dataset({name: (("chain", "draw"), values) for name, values in draws.items()})
    rhat, ess = azs.rhat(chains), azs.ess(chains, method="bulk")
    rows = []
    for name, values in draws.items():
        shown = np.exp(values) if name in sizes else values
        rows.append([*_quantiles(shown.reshape(-1, 1))[:, 0], float(rhat[name]), float(ess[name])])
    return pd.DataFrame(rows, index=list(draws), columns=[*QUANTILES, "rhat", "ess"])


def judge_threshold(threshold: Threshold, table: pd.DataFrame) -> Verdict:
    """Whether the threshold can be trusted: chains (`table`), runs on either side, the prior."""
    draws, reasons = threshold.exponent.size, []
    if not table["rhat"].max() <= MAX_RHAT:
        worst = table["rhat"].idxmax()
        reasons.append(f"R-hat of {worst} is {table['rhat'].max():.3f}, above {MAX_RHAT}")
    if not table["ess"].min() >= MIN_ESS:
        reasons.append(f"only {table['ess'].min():.0f} effective draws, {MIN_ESS:.0f} are asked")
    if threshold.divergent > MAX_DIVERGENT * draws:
        reasons.append(f"{threshold.divergent} of {draws} transitions diverged")
    for label in LABELS[:2]:
        if threshold.counts[label] < MIN_SIDE:
            reasons.append(
                f"only {threshold.counts[label]} run(s) {label}, at least {MIN_SIDE} are asked"
            )
    low, high = np.quantile(threshold.exponent, (0.16, 0.84))
    if high - low > MAX_WIDTH_RATIO * 2 * EXPONENT.scale:
        reasons.append(
            "the runs hardly inform x beyond its prior; train sizes about the threshold at other U"
        )
    return Verdict(not reasons, tuple(reasons))


def _quantiles(draws: Floats) -> Floats:
    """Shape (5, points) from (draws, points), in the order of `QUANTILES`."""
    return np.asarray(np.quantile(draws, list(QUANTILES.values()), axis=0))


def _scaled(name: str, prior: Normal) -> Array:
    standard: Array = numpyro.sample(f"{name}_standard", dist.Normal(0.0, 1.0))
    return prior.location + prior.scale * standard
