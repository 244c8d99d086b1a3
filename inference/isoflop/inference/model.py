"""The hierarchical NumPyro model of training runs.

For run i of group g, with the law of `isoflop.inference.laws`:

    log loss_i ~ StudentT(ν, log L(N_i, U_i, e_i; θ_g) + w_g(C_i) + ζ_g y_i, σ_i)
    σ_i² = [σ (D_i / D₀)^slope]² + (ρ x_i)² + (stderr_i / loss_i)² + 10⁻⁸

but for one run in a hundred that has gone wrong and scatters by tens of per cent; without it such a
run would fatten the tail of all others. A forecast is for a run that goes right.

No law is exact: w_g, its error in group g, is a random walk in log compute that starts with 0 at
the dearest run and goes down to the cheapest. Between its `laws.KNOTS` evenly spaced knots it is
linear. Without it a hundred cheap runs would fix a law that the dear ones contradict.
Its scale, κ times the fall of the runs' loss per √decade, is held at what the runs say of it
(`isoflop.inference.wander`): sampled, it would bend the posterior into a funnel.

Nor is a law exact across the budgets, where it says by how much a network too small or too large
for its compute falls behind. x_i, what run i loses to the best run of its compute by the law, may
be more or less by a share: one of each run's own, of scale ρ, and for y_i, what it would lose on
fresh samples, one for all runs of a group on either side, ζ_g. Without it the walls of the valley,
where most runs lie, would decide how its floor falls. x and y are held at the law that
`isoflop.inference.valley` finds: were they sampled with it, any scatter could be had from walls far
away, and chains would creep where the law bends.

It is sampled in an orthogonal parametrisation. At the centre (N₀, D₀) of the runs

    L_c = loss there,   L∞ = L_c·p,   u₀^γ = L_c·(1−p),   A N₀^−α = s·u₀,   B D₀^−β = (1−s)·u₀,

and (L_c, p, s, γα, γβ) are sampled (p by a coordinate that reaches 0 within few deviations of its
prior, as some losses have no floor), because runs near the centre inform each of them apart; A and
B are extrapolations to one parameter and one sample, so correlated that a sampler crawls.
Groups are partially pooled: their deviations from the mean share a scale τ that the runs inform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
from jax import Array
from jax.nn import log_sigmoid, sigmoid

from isoflop.inference import laws
from isoflop.inference.laws import Law
from isoflop.inference.pooling import loosely_pooled, pooled
from isoflop.inference.priors import DEFAULT, Bend, Normal, Priors

NOISE = "log_sigma"
"""Site of the log scale of the scatter."""
UNEVEN = "sigma_slope"
"""Site of the power of D in it."""
PRECISION = 1e-4
"""Relative precision of a loss, at best. A table without any noise would leave a posterior so thin
and bent that no chain finds its way along it."""
LEAST_FALL = 0.01
"""Fall of the log loss per decade of compute below which the unit of κ does not go."""
WRONG, WRONG_SCALE, WRONG_NU = 0.01, 0.3, 2.0
"""Share of runs that have gone wrong, and the Student-t of their log loss about the others'."""
COMPANY, HARDLY = 3, 1e-9
"""Runs of a group among which one can be seen to have gone wrong; the share in smaller groups, or
their level would be anywhere with a probability of one in a hundred, where chains seldom go."""
PENALTY_EPOCHS = 10.0
"""Passes after the first at which the prior of the overfitting penalty is set, with N = U."""
TELLING_SIZES = 3
"""Sizes of network and of sample in a group that tell how its loss falls along both."""

Valley = Mapping[str, np.ndarray]
"""A law by name of its parameters, shape (groups,) each, at which what runs lose is held."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RunData:
    """The runs as arrays, shape (runs,), and the centre of each group; a pytree."""

    params: np.ndarray
    """N."""
    unique_samples: np.ndarray
    """U, in samples."""
    epochs: np.ndarray
    """e = D/U."""
    loss: np.ndarray
    """Validation loss, in nat."""
    relative_stderr: np.ndarray
    """Sampling error over the loss, `PRECISION` added in squares, which alone is left where that
    error is unknown or common to the runs of the group."""
    group: np.ndarray
    """Index of the group."""
    final: np.ndarray
    """1 where the loss is that of the end of training, 0 where the best one was kept."""
    wrong: np.ndarray
    """Probability that the run has gone wrong."""
    decades: np.ndarray
    """Decades of compute beyond the dearest fitted run of the group; 0 for the runs of a fit."""
    hats: np.ndarray
    """Weight of each knot of the law's error at the run, shape (runs, `laws.KNOTS`)."""
    observed: np.ndarray
    """Whether the row is a run; rows that only fill up a shape say nothing."""
    centre: np.ndarray
    """log N₀ and log D₀, medians over the runs; shape (2,)."""
    level: np.ndarray
    """Mean log loss of each group, shape (groups,); locates the prior of the level."""
    log_flops: np.ndarray
    """Largest log compute of each group, shape (groups,); distances count from it."""
    span: np.ndarray
    """Decades of compute between the cheapest and the dearest run of each group, (groups,)."""
    fall: np.ndarray
    """Fall of the log loss per decade of compute over the dearer half of each group, (groups,)."""
    told: np.ndarray
    """Whether the runs of each group tell its law apart from the other groups', (groups,)."""
    lost: np.ndarray
    """What the run loses to the best of its compute, part by part as `laws.excess` has it, shape
    (runs, `laws.PARTS`); 0 takes the law at its word off the optimum."""
    kappa: np.ndarray
    """κ within the runs, held while sampling; 0 is an exact law. Shape ()."""


def group_names(records: pd.DataFrame) -> tuple[str, ...]:
    """Names of the groups of a record table, sorted: the order of every group axis."""
    return tuple(sorted(map(str, records["group"].unique())))


def run_data(records: pd.DataFrame, *, ceiling: float = np.inf) -> RunData:
    """The arrays of a checked record table whose losses are all known and below `ceiling`."""
    names = group_names(records)
    columns = _columns(records, names, ceiling)
    log_flops, log_loss = np.log(records["flops"].to_numpy(float)), np.log(columns["loss"])
    samples = columns["unique_samples"] * columns["epochs"]
    own = [columns["group"] == g for g in range(len(names))]
    most = np.array([log_flops[runs].max() for runs in own])
    span = np.array([np.ptp(log_flops[runs]) for runs in own]) / np.log(10.0)
    below = (most[columns["group"]] - log_flops) / np.log(10.0)
    return RunData(
        **columns,
        decades=np.zeros(len(records)),
        hats=laws.knot_weights(below, span[columns["group"]]),
        centre=np.array([np.median(np.log(columns["params"])), np.median(np.log(samples))]),
        level=np.array([log_loss[runs].mean() for runs in own]),
        log_flops=most,
        span=span,
        fall=np.array([_fall(below[runs], log_loss[runs]) for runs in own]),
        told=_told(columns["params"], samples, own),
        lost=np.zeros((len(records), laws.PARTS)),
        kappa=np.array(0.0),
    )


def _told(params: np.ndarray, samples: np.ndarray, own: Sequence[np.ndarray]) -> np.ndarray:
    """Whether the runs of each group tell its law: several sizes of network and of sample.

    `own` says of each group which runs are its. The group with the most sizes is always told, for
    the others to lean on.
    """
    sizes = [min(len(np.unique(size[runs])) for size in (params, samples)) for runs in own]
    return np.array(sizes) >= min(TELLING_SIZES, max(sizes))


def in_valley(data: RunData, valley: Valley) -> RunData:
    """The same runs with what they lose off the optimum held at what a law says, (groups,) each."""
    run = (np.asarray(v) for v in (data.params, data.unique_samples, data.epochs))
    own = {name: value[np.asarray(data.group)] for name, value in valley.items()}
    lost = laws.excess(*run, **own, final=np.asarray(data.final))
    return replace(data, lost=np.moveaxis(np.asarray(lost), 0, -1))


def new_runs(
    records: pd.DataFrame,
    fitted: RunData,
    groups: tuple[str, ...],
    valley: Valley,
    *,
    ceiling: float = np.inf,
) -> RunData:
    """The arrays of runs that a fit of these `groups` shall predict, on its centre and level."""
    columns = _columns(records, groups, ceiling)
    beyond = np.log(records["flops"].to_numpy(float)) - fitted.log_flops[columns["group"]]
    beyond = beyond / np.log(10.0)
    hats = laws.knot_weights(-beyond, fitted.span[columns["group"]])
    unseen = replace(fitted, **columns, decades=np.maximum(beyond, 0.0), hats=hats)
    return in_valley(unseen, valley)


def _fall(below: np.ndarray, log_loss: np.ndarray) -> float:
    """Fall of the log loss per decade of compute over the dearer half of the runs.

    Between the medians of its two halves, so that a run gone wrong does not matter.
    """
    dearest, dear = np.quantile(below, (0.25, 0.5))
    first, second = below <= dearest, (below > dearest) & (below <= dear)
    if not second.any():
        return LEAST_FALL
    distance, fall = (np.median(v[second]) - np.median(v[first]) for v in (below, log_loss))
    return max(float(fall / distance), LEAST_FALL)


def _columns(
    records: pd.DataFrame, groups: tuple[str, ...], ceiling: float
) -> dict[str, np.ndarray]:
    """What is known of each run by itself; the loss as its unbounded value."""
    loss = records["loss"].to_numpy(float)
    samples = records["samples"].to_numpy(float)
    unique = np.minimum(records["unique_samples"].to_numpy(float), samples)
    company = records.groupby("group")["loss"].transform("size").to_numpy()
    return {
        "params": records["params"].to_numpy(float),
        "unique_samples": unique,
        "epochs": samples / unique,
        "loss": np.asarray(laws.unbounded(loss, ceiling)),
        # An error of L is one of V enlarged by dlogV/dlogL = 1/(1 − L/c).
        "relative_stderr": np.hypot(
            PRECISION, _own_stderr(records) / loss / (1.0 - loss / ceiling)
        ),
        "group": np.searchsorted(groups, records["group"].to_numpy(str)),
        "final": (records["loss_kind"] == "final").to_numpy(float),
        "wrong": np.where(company >= COMPANY, WRONG, HARDLY),
        "observed": np.ones(len(loss), bool),
    }


def padded(data: RunData, rows: int) -> RunData:
    """The same runs with rows that say nothing up to `rows`, so that tables share a program."""
    missing = rows - len(data.loss)
    ones = ("params", "unique_samples", "epochs", "loss")
    zeros = ("relative_stderr", "group", "final", "wrong", "decades", "observed")
    return replace(
        data,
        hats=np.pad(data.hats, ((0, missing), (0, 0))),
        lost=np.pad(data.lost, ((0, missing), (0, 0))),
        **{name: np.pad(getattr(data, name), (0, missing), constant_values=1) for name in ones},
        **{name: np.pad(getattr(data, name), (0, missing)) for name in zeros},
    )


def bucket(rows: int) -> int:
    """Rows of the program that serves a table of so many runs: powers of two and halfway."""
    size = 32
    while size < rows:
        size += size // 2 if size & (size - 1) == 0 else size // 3
    return size


def _own_stderr(records: pd.DataFrame) -> np.ndarray:
    """Sampling error [nat] of each run's loss that its neighbours do not share, shape (runs,).

    Runs measured on the same validation jets err together: that shifts the whole group, L∞ with
    it, and is no scatter between runs. A group whose runs all name one `dataset` is such a case.
    """
    names = records.groupby("group")["dataset"]
    shared = names.transform("nunique").eq(1) & names.transform("count").eq(names.transform("size"))
    return records["loss_stderr"].mask(shared, 0.0).fillna(0.0).to_numpy(float)


def scaling_model(data: RunData, law: Law, priors: Priors = DEFAULT) -> None:
    """The joint density of the parameters and the runs."""
    theta, noise, walk, walls = sample_parameters(data, law, priors)
    run = data.params, data.unique_samples, data.epochs
    own = {name: value[data.group] for name, value in theta.items()}
    mean = jnp.log(laws.loss(*run, **own, final=data.final))
    weights = jnp.concatenate([data.hats, data.lost[:, : laws.SIDES]], axis=-1)
    errors = jnp.concatenate([walk, walls], axis=-1)[data.group]
    # Column by column: XLA takes a third of the density's time to add up so short an axis.
    mean += sum(weights[:, k] * errors[:, k] for k in range(laws.KNOTS + laws.SIDES))
    sigma = laws.scatter(
        data.unique_samples * data.epochs,
        sigma=noise["sigma"],
        sigma_slope=noise["sigma_slope"],
        reference=jnp.exp(data.centre[1]),
    )
    off = noise["rho"] * jnp.sum(data.lost, axis=-1)
    scale = jnp.sqrt(sigma**2 + off**2 + data.relative_stderr**2)
    likelihood = Scattered(mean, scale, noise["nu"], data.wrong)
    with numpyro.handlers.mask(mask=data.observed):
        numpyro.sample("log_loss_obs", likelihood, obs=jnp.log(data.loss))


class Scattered(dist.MixtureGeneral):  # type: ignore[misc]
    """The log loss of a run: Student-t about the mean, wide where the run has gone wrong."""

    def __init__(self, mean: Array, scale: Array, nu: Array, share: Array | np.ndarray) -> None:
        """`share` is the probability that the run has gone wrong."""
        self.log_shares = jnp.log1p(-share), jnp.log(share)
        right, wrong = dist.StudentT(nu, mean, scale), dist.StudentT(WRONG_NU, mean, WRONG_SCALE)
        which = dist.Categorical(jnp.stack([1.0 - share, jnp.asarray(share)], axis=-1))
        super().__init__(which, [right, wrong])

    def log_prob(self, value: Array) -> Array:
        """The log density, without the stacks and the softmax of a mixture of any size."""
        kinds = zip(self.log_shares, self.component_distributions, strict=True)
        return laws.log_sum(*(log_share + kind.log_prob(value) for log_share, kind in kinds))


def sample_parameters(
    data: RunData, law: Law, priors: Priors = DEFAULT
) -> tuple[dict[str, Array], dict[str, Array], Array, Array]:
    """The prior: the law's parameters by name, shape (groups,) each, those of the scatter, w, ζ.

    The law's error w is log loss at the knots, shape (groups, `laws.KNOTS`), that of the walls ζ a
    share of what runs lose there, shape (groups, 2).
    """
    theta = _group_parameters(data, law, priors)
    noise = {
        "sigma": jnp.exp(numpyro.sample(NOISE, _normal(priors.log_sigma))),
        "nu": 2.0 + jnp.exp(numpyro.sample("log_nu_minus_2", _normal(priors.log_nu_minus_2))),
        "rho": jnp.zeros(()),
    }
    if law.errs:
        noise["rho"] = jnp.exp(numpyro.sample("log_rho", _normal(priors.log_rho)))
    noise = {name: numpyro.deterministic(name, value) for name, value in noise.items()}
    noise["sigma_slope"] = numpyro.sample(UNEVEN, _normal(priors.sigma_slope))
    return theta, noise, _walk(data), _walls(data, law, priors)


def _walk(data: RunData) -> Array:
    """The error of the law at the knots of each group, in log loss: steps of unit scale, added."""
    shape = (data.level.shape[0], laws.KNOTS)
    steps = numpyro.sample("walk_step", dist.Normal(0.0, 1.0).expand(shape).to_event(2))
    scale = data.kappa * data.fall * jnp.sqrt(data.span / laws.KNOTS)
    return jnp.asarray(numpyro.deterministic("walk", scale[:, None] * jnp.cumsum(steps, axis=-1)))


def _walls(data: RunData, law: Law, priors: Priors) -> Array:
    """The error of the law where the network is too small and too large, as a share of the loss."""
    shape, prior = (data.level.shape[0], laws.SIDES), priors.walls
    walls = jnp.zeros(shape)
    if law.errs:
        steps = numpyro.sample("wall_step", dist.Normal(0.0, 1.0).expand(shape).to_event(2))
        walls = prior.location + prior.scale * steps
    return jnp.asarray(numpyro.deterministic("walls", walls))


def _group_parameters(data: RunData, law: Law, priors: Priors) -> dict[str, Array]:
    """Sample the parameters of every group, shape (groups,) each, and record them by name."""
    groups = data.level.shape[0]
    offset = numpyro.sample("level", _normal(priors.level).expand([groups]).to_event(1))
    level = data.level + offset
    floor = pooled("irreducible", priors.irreducible, priors.tau_loss_inf, data.told)
    irreducible = bent(floor, priors.no_floor)
    share = pooled("share", priors.share, priors.tau_share, data.told)
    # The runs fix how log L falls and bends, whatever L∞ is: its slopes along log N and log D at
    # the centre, (1−p) s γα and (1−p) (1−s) γβ, and (1−p) γ. A single group samples their logs.
    above = log_sigmoid(-irreducible)
    shift_n, shift_d = above + log_sigmoid(share), above + log_sigmoid(-share)
    log_slope_n = pooled("log_slope_n", priors.log_slope, priors.tau_alpha, data.told, shift_n)
    log_slope_d = pooled("log_slope_d", priors.log_slope, priors.tau_beta, data.told, shift_d)
    # Few groups have repeated runs: the deviations of the others are their scale's prior alone.
    spare = priors.log_omega_minus_1, priors.tau_omega
    log_spare = loosely_pooled("log_spare", *spare, groups)
    log_gamma = jnp.zeros(groups)
    if law.couples:
        log_gamma = pooled("log_gamma", priors.log_gamma, priors.tau_gamma, data.told, above)
    log_penalty = numpyro.sample("log_penalty", _normal(priors.log_penalty))
    gamma = jnp.exp(log_gamma)
    alpha, beta = jnp.exp(log_slope_n - log_gamma), jnp.exp(log_slope_d - log_gamma)
    log_u0 = (level + above) / gamma
    theta = {
        "loss_inf": jnp.exp(level) * sigmoid(irreducible),
        "log_A": log_u0 + log_sigmoid(share) + alpha * data.centre[0],
        "log_B": log_u0 + log_sigmoid(-share) + beta * data.centre[1],
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "omega": 1.0 + jnp.exp(log_spare),
        "log_P": log_penalty - log_gamma + log_u0 - jnp.log(PENALTY_EPOCHS),
    }
    return {name: numpyro.deterministic(name, value) for name, value in theta.items()}


def bent(x: Array, bend: Bend) -> Array:
    """The value of a bent coordinate: x, but from a place downwards less the squared distance."""
    return x - bend.strength * jnp.square(jnp.maximum(bend.below - x, 0.0))


def _normal(prior: Normal) -> dist.Normal:
    return dist.Normal(prior.location, prior.scale)
