"""Where the valley of the runs lies: the law by which it is reckoned what a run loses off it.

The model holds what each run loses to the best of its compute while it samples. Here it is learned:
the law is found at the posterior mode as if it were exact off the optimum, then again with what it
says that the runs lose there, until that no longer changes.
"""

from dataclasses import replace

import jax
import numpy as np

from isoflop.inference.density import Target
from isoflop.inference.laws import Law
from isoflop.inference.mode import find_mode
from isoflop.inference.model import RunData, Valley, in_valley
from isoflop.inference.posterior import LAW_VARIABLES
from isoflop.inference.priors import Priors
from isoflop.inference.wander import held_at

MAX_ROUNDS = 6
"""Times that the law is found, at most; tables of runs take three."""
SETTLED = 0.1
"""Change of what the runs lose, of all that they lose, below which it is held."""


def learn_valley(target: Target, data: RunData, law: Law, priors: Priors) -> Valley:
    """The law's parameters at the mode given the runs, κ at its prior median; (groups,) each."""
    data = held_at(data, np.exp(priors.log_kappa.location) if law.errs else 0.0)
    mode = None
    for _ in range(MAX_ROUNDS):
        mode = find_mode(target, data, starts=1, near=mode)
        sites = target.constrain(mode.location[None], data)
        valley = {name: sites[name][0] for name in LAW_VARIABLES}
        before, data = data, held_in(data, valley)
        # In NumPy, as a mask inside JAX compiles for every number of runs.
        runs = np.asarray(data.observed)
        lost, lost_before = np.asarray(data.lost)[runs], np.asarray(before.lost)[runs]
        if not law.errs or np.abs(lost - lost_before).sum() <= SETTLED * lost.sum():
            break
    return valley


def held_in(data: RunData, valley: Valley) -> RunData:
    """The same runs, on the device, with what they lose off the optimum held."""
    return replace(data, lost=jax.device_put(in_valley(data, valley).lost))
