"""Every prior of the model with its reason.

The model samples what the runs at hand determine: the loss at the centre of the data, the share
of it that no training removes, the share of the rest that more parameters remove, and the two
asymptotic slopes γα and γβ. A and B follow from these. Published fits quoted here: Chinchilla
(arXiv:2203.15556), its replication (arXiv:2404.10102), the data-constrained law
(arXiv:2305.16264), jets (arXiv:2602.15781) and ATLAS GN3 (ATL-SOFT-PUB-2026-002).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Normal:
    """A normal prior on the scale on which a parameter is sampled."""

    location: float
    """Mean."""
    scale: float
    """Standard deviation."""
    reason: str
    """Why this location and scale."""


@dataclass(frozen=True)
class Scale:
    """The prior of a group scale τ: log-normal, so that the sampler meets no funnel at zero."""

    site: str
    """Name of the scale in the model and the posterior."""
    median: float
    """Median of τ."""
    reason: str
    """Why this median."""
    log_scale: float = 0.6
    """Standard deviation of log τ: a factor 3.3 either way within two sigma."""


@dataclass(frozen=True)
class Bend:
    """Makes a value of a normal coordinate: below a place it falls by the square as well."""

    below: float
    """Where the bend begins."""
    strength: float
    """Fall of the value over the squared distance from there."""
    reason: str
    """Why there and so much."""


@dataclass(frozen=True)
class Priors:
    """The priors of one model."""

    level: Normal = Normal(
        0.0, 0.5, "log loss at the centre, about the mean of the group's runs: they fix it"
    )
    irreducible: Normal = Normal(
        0.5, 1.5, "logit of p, L∞ over the loss at the centre: 0.03 to 0.97 within two sigma"
    )
    no_floor: Bend = Bend(
        -1.0,
        0.5,
        "some losses have no floor: p < 0.01 has 1.2 %, as if p were uniform, instead of 0.03 %",
    )
    share: Normal = Normal(
        0.0, 1.5, "logit share of the N term at the centre: sweeps are designed to see both terms"
    )
    log_slope: Normal = Normal(
        math.log(0.3), 0.7, "γα and γβ: published exponents run from 0.08 (GN3) to 0.68 (GN3)"
    )
    log_gamma: Normal = Normal(
        -0.2,
        0.4,
        "0.4 to 1.8 within two sigma, 1 is the additive law; a bend that asks for less may as well "
        "be the law's error within the runs",
    )
    log_omega_minus_1: Normal = Normal(
        math.log(8.0), 1.0, "R* is 15.4 for language (arXiv:2305.16264); 1 to 60 within two sigma"
    )
    log_penalty: Normal = Normal(
        math.log(0.05),
        1.5,
        "rise of the reducible loss by overfitting after 10 more passes at N = U: 0.25 % to 100 %; "
        "0.10 in arXiv:2305.16264's runs, and N/U has other units elsewhere",
    )
    log_sigma: Normal = Normal(
        math.log(0.01), 1.7, "seed noise runs from 0.02 % (OLMo) to 5 % (teacher-student)"
    )
    sigma_slope: Normal = Normal(
        -0.1, 0.2, "how the scatter falls with D: seeds differ by 10 % at 1k jets, 1 % at 200k"
    )
    log_rho: Normal = Normal(
        math.log(0.1),
        0.7,
        "of what a run loses to the best of its compute: 0.03 to 0.3 in tables of runs (LOG.md)",
    )
    walls: Normal = Normal(
        0.0,
        0.2,
        "common to all runs of a group on one side of the optimum; 0.15 and 0.3 forecast as well",
    )
    log_nu_minus_2: Normal = Normal(
        math.log(13.0),
        0.8,
        "ν is 5 to 66 within two sigma: heavy tails are allowed, not insisted on; above 2, or the "
        "density is unbounded where the law passes exactly through some of the runs",
    )
    log_kappa: Normal = Normal(
        math.log(0.1),
        0.6,
        "of the fall per √decade: 0.04 to 0.4 in tables of runs (LOG.md)",
    )
    tau_loss_inf: Scale = Scale(
        "tau_loss_inf", 0.6, "L∞ of jets is 0.32 with full inputs, 0.74 with kinematics only"
    )
    tau_share: Scale = Scale(
        "tau_share", 0.3, "the same grid is trained in every group, so shares differ less"
    )
    tau_alpha: Scale = Scale("tau_alpha", 0.12, "exponents are about common to groups")
    tau_beta: Scale = Scale("tau_beta", 0.12, "β of jets is 0.21 to 0.26 over inputs")
    tau_gamma: Scale = Scale("tau_gamma", 0.12, "as the exponents")
    tau_omega: Scale = Scale(
        "tau_omega", 0.18, "what a repeated sample is worth depends on the task, less on inputs"
    )


_FIRM = 0.3
"""Log-scale of τ in the links: a few groups and nine signals tell no more, and a wider one costs
twice the leapfrog steps and leaves divergences."""


@dataclass(frozen=True)
class LinkPriors:
    """The priors of one link; slopes and curvatures per nat."""

    level: Normal = Normal(0.0, 1.0, "level at L̄, about that of the runs near it: they fix it")
    log_slope: Normal = Normal(
        math.log(2.5), 0.7, "of the highest losses; a public JetClass study has 1.3, 0.6 to 10"
    )
    tau_level: Scale = Scale(
        "tau_level", 0.5, "feature sets differ by some tens of per cent in R", _FIRM
    )
    tau_slope: Scale = Scale(
        "tau_slope", 0.3, "all backgrounds are told apart by the same network", _FIRM
    )
    tau_walk: Scale = Scale(
        "tau_walk", 0.8, "ω: slopes change by a factor 2 to 3 over the nat from guessing", _FIRM
    )
    tau_walk_group: Scale = Scale("tau_walk_group", 0.4, "feature sets bend alike", _FIRM)
    log_scatter: Normal = Normal(
        -2.0, 1.0, "seeds of one training differ by 5 to 40 per cent in R between working points"
    )
    tau_scatter: Scale = Scale("tau_scatter", 0.3, "the scatter is that of the same runs", _FIRM)
    scatter_slope: Normal = Normal(
        0.5, 0.7, "runs near guessing have learned different parts of the task"
    )


DEFAULT = Priors()
LINK = LinkPriors()
