"""A plan with everything that is asked of it, for 100 budgets and 4000 draws: time and memory.

Usage: python benchmarks/plan.py [POSTERIOR]

Everything: best plans, outcome of a run, regret, costs, the plans that are as good, marginal
values, and the worth of all of them where the posterior has a link. Without POSTERIOR the draws
scatter about a law like that of the jets. A machine with other work stretches wall time; CPU time
is printed beside it.
"""

import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from isoflop.forecast.account import outcomes
from isoflop.forecast.costmodel import read_costs
from isoflop.forecast.marginal import marginals
from isoflop.forecast.option import Option, make_option
from isoflop.forecast.plan import make_plans
from isoflop.forecast.predict import group_names, quantiles
from isoflop.forecast.pricing import cheapest_run
from isoflop.inference import laws
from isoflop.inference import posterior as contract

ROOT = Path(__file__).parents[1]
BUDGETS = 100
DRAWS = 4000
TRIALS = 5
LAW = {
    "loss_inf": (0.40, 0.03),
    "log_A": (4.0, 0.2),
    "log_B": (3.0, 0.2),
    "alpha": (0.42, 0.03),
    "beta": (0.30, 0.02),
    "gamma": (0.8, 0.05),
    "omega": (9.0, 2.0),
}


def like_jets() -> xr.DataTree:
    """A posterior without a link: normal draws about a law, and the runs of a small grid."""
    random = np.random.default_rng(0)
    shape, dims = (4, DRAWS // 4, 1), ("chain", "draw", "group")
    drawn = {
        name: (dims, middle + width * random.standard_normal(shape))
        for name, (middle, width) in LAW.items()
    }
    drawn["log_P"] = (dims, np.full(shape, laws.NO_PENALTY))
    noise = {"sigma": 0.004, "sigma_slope": -0.1, "rho": 0.1, "nu": 5.0, "kappa": 0.2}
    variables = drawn | {name: (dims[:2], np.full(shape[:2], v)) for name, v in noise.items()}
    law = xr.Dataset(variables, coords={"group": ["full-40"]})
    law["walk"] = ((*dims, "knot"), np.zeros((*shape, laws.KNOTS)))
    law["walls"] = ((*dims, "side"), np.zeros((*shape, laws.SIDES)))
    n, d = (axis.ravel() for axis in np.meshgrid([1e3, 1e4, 1e5], [1e4, 1e5, 2e5]))
    runs = {"params": n, "samples": d, "unique_samples": d, "flops": 212.0 * n * d}
    constant = xr.Dataset({name: ("run", value) for name, value in runs.items()})
    constant["run_group"] = ("run", np.full(len(n), "full-40"))
    constant = constant.assign_coords(group=["full-40"])
    constant["flops_per_param_sample"] = ("group", [212.0])
    constant["final"] = ("group", [False])
    constant["sigma_samples"] = ((), 1e5)
    middle = [*(middle for middle, _ in LAW.values()), laws.NO_PENALTY]
    constant["valley"] = (("group", "parameter"), [middle])
    constant = constant.assign_coords(parameter=[*LAW, "log_P"])
    tree = {name: xr.Dataset() for name in contract.GROUPS}
    loss = xr.Dataset({"loss": ("run", np.linspace(1.9, 0.8, len(n)))})
    tree |= {"posterior": law, "constant_data": constant, "observed_data": loss}
    made = xr.DataTree.from_dict(tree)
    made.attrs = {"schema": contract.SCHEMA, "law": "coupled", "ceiling": np.inf}
    return made


def everything(option: Option, budgets: np.ndarray) -> int:
    """Compute all that a plan has to say at every budget; the number of arrays of draws."""
    plans = make_plans(option, budgets)
    before = outcomes(option, plans.loss)
    drawn = [*before.values(), plans.regret, plans.cost_draws.total]
    for one in marginals(plans):
        after = outcomes(option, one.loss)
        drawn += [after[name] - value for name, value in before.items()]
    assert np.isfinite(plans.ranges.params).all()
    for values in drawn:
        quantiles(values)
    return len(drawn)


def peak_memory() -> float:
    """Largest memory of this process so far [GB]; `ru_maxrss` would count its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return float(peak) / 1024.0**2


def main() -> None:
    """Time it warm, best and median of the trials, and print one line."""
    posterior = contract.load(sys.argv[1]) if len(sys.argv) > 1 else like_jets()
    group = group_names(posterior)[-1 if len(sys.argv) < 2 else 0]
    option = make_option(posterior, group, read_costs(ROOT / "costs" / "delphes.toml"))
    budgets = cheapest_run(option) * np.geomspace(1.0, 1e8, BUDGETS)
    count = everything(option, budgets)
    wall, cpu = [], []
    for seed in range(TRIALS):
        started, used = time.perf_counter(), time.process_time()
        everything(replace(option, seed=seed), budgets)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    memory = peak_memory()
    print(
        f"plan, {len(option.draws.alpha)} draws x {BUDGETS} budgets, {count} quantities: "
        f"wall best {min(wall):.2f} s, median {np.median(wall):.2f} s; CPU best {min(cpu):.2f} s, "
        f"median {np.median(cpu):.2f} s; peak memory {memory:.2f} GB"
    )


if __name__ == "__main__":
    main()
