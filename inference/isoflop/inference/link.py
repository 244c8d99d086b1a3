"""From the loss to physics: fit the working points of the runs, and predict those of new runs.

One link a kind of working point: `rejection` at fixed signal efficiency, `efficiency` at fixed
background rejection. Its draws are as many as the law's, so that draw i goes with draw i.

Runs are judged on the same jets and share their error, which no number of runs averages out. The
link describes what is counted on those jets, as a back-test needs it. On other jets u differs by
√(1/n + v) z, z ~ Normal(0, 1) for all runs and losses of a working point: n is the number of jets
that pass (`rates.counting_error`), v the variance with which the other kind of jets sets the cut
(`cut_error`²), 1/(N_s ε(1−ε)) at fixed efficiency, R/N_b at fixed rejection; log R and logit ε
move about alike with a cut. The forecast adds it, and in a ratio of two taggers it cancels.
"""

import numpy as np
import pandas as pd
import xarray as xr
from jax import device_put

from isoflop.inference import rates
from isoflop.inference.density import Target
from isoflop.inference.diagnostics import chain_verdict
from isoflop.inference.link_model import (
    SEGMENTS,
    PointData,
    link_model,
    padded,
)
from isoflop.inference.mode import find_mode
from isoflop.inference.model import bucket
from isoflop.inference.pooling import STANDARD
from isoflop.inference.posterior import LINK_VARIABLES, describe
from isoflop.inference.priors import LINK, LinkPriors
from isoflop.inference.sampler import Lengths, sample

FIXED = {"rejection": "efficiency", "efficiency": "rejection"}
"""What is held fixed by each kind of working point."""
NEAR_CENTRE = 0.3
"""Rows within this much of L̄ [nat] locate the prior of the level."""
NARROWEST = 0.2
"""Range of loss [nat] that the segments share at least."""

_TARGETS: dict[tuple[object, ...], Target] = {}


def link_groups(
    points: pd.DataFrame,
    records: pd.DataFrame,
    lengths: Lengths,
    *,
    shape: tuple[int, int],
    seed: int,
) -> dict[str, xr.Dataset]:
    """The groups of a posterior file for the working points of the runs in `records`.

    `link/<kind>` holds the draws, in the (chain, draw) `shape` of the law's, and
    `link/<kind>_counts` the counts they were fitted to, a row each.
    """
    parts = {}
    for kind, table in link_tables(points, records).items():
        link = fit_link(table, kind, lengths, seed=seed)
        link.attrs["datasets"] = "\n".join(sorted(set(records["dataset"].dropna())))
        parts[f"link/{kind}"] = _in_shape(link, shape)
        columns = {name: ("row", table[name].to_numpy()) for name in table}
        parts[f"link/{kind}_counts"] = xr.Dataset(
            {f"row_{k}" if k in ("group", "signal") else k: v for k, v in columns.items()}
        )
    return parts


def _in_shape(link: xr.Dataset, shape: tuple[int, int]) -> xr.Dataset:
    """The link with its chains laid out as those of the law, such as a bootstrap's single one."""
    if (link.sizes["chain"], link.sizes["draw"]) == shape:
        return link
    kept = {name: one for name, one in link.data_vars.items() if "draw" not in one.dims}
    laid = {
        name: (one.dims, one.values.reshape(*shape, *one.shape[2:]), one.attrs)
        for name, one in link.data_vars.items()
        if "draw" in one.dims
    }
    return xr.Dataset(kept | laid, attrs=link.attrs)


def link_tables(points: pd.DataFrame, records: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The counts of each kind of working point of the runs in `records`, with group and loss.

    Columns `run_id, group, loss, flops, signal, at, passed, tested, cut_error` (standard error of u
    by the jets that set the cut); kinds without rows are absent.
    `signal` tells several working points of one signal apart, as `Hbb@0.7`. Raises `ValueError` on
    impossible counts and where no row belongs to a run.
    """
    own = records[["run_id", "group", "loss", "flops"]]
    rows = points.merge(own[records["loss"].notna()], on="run_id", how="inner")
    if rows.empty:
        raise ValueError(
            "no working point belongs to a run of the fit: their run_id differ; give the working "
            "points of these records, or go without them (--no-link)"
        )
    for name in ("rejection", "n_signal_passed"):
        if name not in rows:
            rows[name] = np.nan
    at_rejection = rows["rejection"].notna()
    columns = {
        "rejection": ("efficiency", "n_background_passed", "n_background"),
        "efficiency": ("rejection", "n_signal_passed", "n_signal"),
    }
    parts = {"rejection": rows[~at_rejection], "efficiency": rows[at_rejection]}
    return {kind: _table(part, *columns[kind]) for kind, part in parts.items() if len(part)}


def _table(rows: pd.DataFrame, fixed: str, passed: str, tested: str) -> pd.DataFrame:
    bad = rows[~((rows[passed] >= 0) & (rows[passed] <= rows[tested]) & (rows[tested] > 0))]
    if len(bad):
        one = bad.iloc[0]
        raise ValueError(
            f"working points: {len(bad)} row(s) with impossible counts, first run "
            f"{one['run_id']}, {one['signal']}: {passed} {one[passed]} of {tested} {one[tested]}"
        )
    several = rows.groupby("signal")[fixed].transform("nunique") > 1
    named = rows["signal"].astype(str) + "@" + rows[fixed].map("{:g}".format).astype(str)
    label = rows["signal"].astype(str).where(~several, named)
    return pd.DataFrame(
        {
            **{name: rows[name] for name in ("run_id", "group", "loss", "flops")},
            "signal": label,
            "at": rows[fixed].astype(float),
            "passed": rows[passed].astype(float),
            "tested": rows[tested].astype(float),
            "cut_error": 1.0 / np.sqrt(np.maximum(_setting(rows, fixed), 1.0)),
        }
    ).reset_index(drop=True)


def _setting(rows: pd.DataFrame, fixed: str) -> "pd.Series[float]":
    """Jets that set the cut, as they count for its error: N_s ε(1−ε), or the QCD jets above it."""
    if fixed == "rejection":
        return rows["n_background_passed"].astype(float)
    return rows["n_signal"] * rows["efficiency"] * (1.0 - rows["efficiency"])


def fit_link(
    table: pd.DataFrame,
    kind: str,
    lengths: Lengths,
    *,
    priors: LinkPriors = LINK,
    seed: int = 0,
) -> xr.Dataset:
    """Draws of the link of one kind, (chain, draw, group, signal), given a table of `link_tables`.

    What made them stands beside them: the working points `at`, the loss `centre`, the `knots`
    between segments, the range of loss seen in each group, the jets `tested` and the `cut_error`.
    The attribute `faults` says what is wrong with the chains, if anything.
    """
    data, groups, signals, centre = point_data(table, kind)
    target, filled = _target(data, kind, priors, lengths.warmup)
    target.compile_ahead(filled)
    mode = find_mode(target, filled, starts=1, seed=seed)
    drawn = sample(target, filled, mode, lengths, seed=seed)
    dims = {name: ("chain", "draw", *one.dims) for name, one in LINK_VARIABLES.items()}
    draws = xr.Dataset(
        {name: (dims[name], drawn.sites[name]) for name in rates.PARAMETERS},
        coords={"group": groups, "signal": signals},
    )
    faults = chain_faults(draws, int(drawn.stats["diverging"].sum()))
    loss, signal = table.groupby("group")["loss"], table.groupby("signal")
    draws = draws.assign(
        at=("signal", signal["at"].first().loc[signals].to_numpy()),
        tested=("signal", signal["tested"].median().loc[signals].to_numpy()),
        cut_error=("signal", signal["cut_error"].median().loc[signals].to_numpy()),
        centre=centre,
        knots=(("knot",), data.knots + centre),
        lowest_loss=(("group",), loss.min().loc[groups].to_numpy()),
        highest_loss=(("group",), loss.max().loc[groups].to_numpy()),
    )
    described = describe(draws, LINK_VARIABLES)
    described["at"].attrs["long_name"] = f"fixed {FIXED[kind]} of the working point"
    described["tested"].attrs |= {"units": "jet", "long_name": "jets tested a run, median"}
    described["cut_error"].attrs["long_name"] = "error of u by the jets that set the cut"
    for name in ("centre", "knots", "lowest_loss", "highest_loss"):
        described[name].attrs["units"] = "nat"
    described.attrs = {
        "kind": kind,
        "runs": int(table["run_id"].nunique()),
        "faults": "\n".join(f"link to the {kind}: {fault}" for fault in faults),
    }
    return described


def point_data(table: pd.DataFrame, kind: str) -> tuple[PointData, list[str], list[str], float]:
    """The arrays of a table of `link_tables`, names of its groups and signals, and L̄ [nat]."""
    groups, signals = (sorted(map(str, table[name].unique())) for name in ("group", "signal"))
    centre = float(np.round(table["loss"].median(), 3))
    x = table["loss"].to_numpy(float) - centre
    near, width = suggested(table["passed"].to_numpy(), table["tested"].to_numpy(), kind)
    signal = np.searchsorted(signals, table["signal"].to_numpy(str))
    close = np.abs(x) < max(NEAR_CENTRE, float(np.abs(x).min()))
    data = PointData(
        x=x,
        passed=table["passed"].to_numpy(float),
        tested=table["tested"].to_numpy(float),
        group=np.searchsorted(groups, table["group"].to_numpy(str)),
        signal=signal,
        observed=np.ones(len(x), bool),
        near=near,
        width=width,
        level=np.array(
            [_median(near, (signal == s) & close, signal == s) for s in range(len(signals))]
        ),
        knots=_knots(table["loss"].to_numpy(float)) - centre,
        groups=np.zeros(len(groups)),
    )
    return data, groups, signals, centre


def _knots(loss: np.ndarray) -> np.ndarray:
    """Lower ends of the segments [nat], shape (SEGMENTS,): the last one is the lowest loss."""
    wide = max(float(np.ptp(loss)), NARROWEST)
    return np.asarray(loss.min() + wide * np.linspace(1.0, 0.0, SEGMENTS + 1)[1:])


def _median(values: np.ndarray, wanted: np.ndarray, otherwise: np.ndarray) -> float:
    return float(np.median(values[wanted if wanted.any() else otherwise]))


def suggested(passed: np.ndarray, tested: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """u that counts alone suggest, half a jet added to each side, and its standard error."""
    p = (passed + 0.5) / (tested + 1.0)
    if kind == "efficiency":
        return np.log(p / (1.0 - p)), 1.0 / np.sqrt(tested * p * (1.0 - p))
    scaled = -rates.SHARPNESS * np.log(p)
    u = (scaled + np.log(-np.expm1(-scaled))) / rates.SHARPNESS
    return u, np.sqrt((1.0 - p) / (tested * p)) / -np.expm1(-scaled)


def predicted_counts(
    link: xr.Dataset, table: pd.DataFrame, *, loss: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """New counts `passed` for the rows of a table, shape (draws, rows): scatter and binomial.

    `loss` [nat], shape (draws, rows), takes the place of the rows' own; draw i goes with draw i.
    """
    u = predicted_u(link, table, loss=loss, seed=seed)
    passes, _ = rates.log_passing(u, str(link.attrs["kind"]))
    rng = np.random.default_rng([seed, 1])
    return rng.binomial(table["tested"].to_numpy(int), np.exp(np.minimum(passes, 0.0)))


def predicted_u(
    link: xr.Dataset, table: pd.DataFrame, *, loss: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """u of new runs with their scatter for the rows of a table, shape (draws, rows)."""
    cells = {
        "group": xr.DataArray(table["group"].to_numpy(str), dims="row"),
        "signal": xr.DataArray(table["signal"].to_numpy(str), dims="row"),
    }
    flat = link[list(rates.PARAMETERS)].stack(all=("chain", "draw")).sel(cells)
    own = {
        name: one.transpose("all", "row", ..., missing_dims="ignore").values
        for name, one in flat.data_vars.items()
    }
    own["scatter_slope"] = own["scatter_slope"][:, None]
    knots = link["knots"].values - float(link["centre"])
    x = (table["loss"].to_numpy(float)[None] if loss is None else loss) - float(link["centre"])
    mean = rates.transformed(x, own["level"], own["slope"], knots)
    scale = rates.scatter(x, own["scatter"], own["scatter_slope"])
    return np.asarray(mean + scale * np.random.default_rng([seed, 0]).standard_normal(mean.shape))


def chain_faults(draws: xr.Dataset, divergent: int) -> tuple[str, ...]:
    """What is wrong with the chains of a link, one sentence each."""
    import arviz_stats as azs  # two seconds to import

    columns = {
        "rhat": azs.rhat(draws),
        "ess_bulk": azs.ess(draws, method="bulk"),
        "ess_tail": azs.ess(draws, method="tail"),
    }
    flat = {name: _flattened(values) for name, values in columns.items()}
    total = draws.sizes["chain"] * draws.sizes["draw"]
    return chain_verdict(pd.DataFrame(flat), divergent, total).reasons


def _flattened(values: xr.Dataset) -> "pd.Series[float]":
    """Every element of a dataset as one series, indexed as `slope[full-40, Hbb]`."""
    entries = {}
    for name in map(str, values.data_vars):
        array = values[name]
        for place in np.ndindex(array.shape):
            at = ", ".join(str(array[d].values[i]) for d, i in zip(array.dims, place, strict=True))
            entries[f"{name}[{at}]" if at else name] = float(array.values[place])
    return pd.Series(entries)


def _target(
    data: PointData, kind: str, priors: LinkPriors, warmup: int
) -> tuple[Target, PointData]:
    """The program that serves these counts, and the counts filled up to its shape."""
    filled = device_put(padded(data, bucket(len(data.x))))
    key = (kind, priors, warmup, len(filled.x), len(data.level), len(data.groups))
    if key not in _TARGETS:
        _TARGETS.clear()  # a program takes about 100 MB; others come back from disk
        _TARGETS[key] = Target(link_model, filled, kind, priors, warmup=warmup, held=STANDARD)
    return _TARGETS[key], filled
