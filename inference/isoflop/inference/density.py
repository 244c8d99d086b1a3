"""A NumPyro model as a density of one flat vector, compiled once for every table of one shape.

Data are arguments of the compiled programs and not constants in them; the programs are kept in the
user's cache folder.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo, constrain_fn, potential_energy

from isoflop.inference.geometry import Whitening, coloured, layout_of, whitening

Model = Callable[..., Any]
Program = Callable[..., Any]

CHUNK = 100
"""Steps of one call of the compiled program."""
BLOCK = 16
"""Vectors at which energies are computed in one call, which costs as much as five of them."""
DRAWS = 500
"""Vectors whose sites are computed in one call."""
TARGET_ACCEPT = 0.9
FIRST_STEP = 0.5
"""Step size before adaptation, in posterior deviations; NUTS adapts it within some 50 steps."""


class Target:
    """A model's density over flat vectors, with its compiled functions.

    `static` are the arguments of the model that shape the program, such as the law. Data come with
    each call as a pytree of arrays; `example` shows their shapes. Sites whose name ends in `held`
    stay at 0 while the mode is sought: the joint density of many groups and their common scale
    grows without limit as both shrink, where there is hardly any mass. For the same reason `noise`
    names the site, if any, of the log scale of the scatter, which is chosen by mass and not height;
    meanwhile the site `uneven`, by which the scatter differs between runs, is held at 0. A site
    whose first axis is as long as there are `groups` has coordinates of each group apart.
    """

    def __init__(
        self,
        model: Model,
        example: Any,
        *static: Any,
        warmup: int,
        held: str = "\0",
        noise: str = "\0",
        uneven: str = "\0",
        accept: float = TARGET_ACCEPT,
        groups: int = 1,
    ) -> None:
        """Prepare the programs; they are compiled at their first call."""
        use_compilation_cache()
        self._model, self._static = model, static
        self._warmup, self._accept = warmup, accept
        sites = jax.eval_shape(lambda data: latent_sites(model, data, *static), example)
        zeros = jax.tree.map(lambda site: np.zeros(site.shape, site.dtype), sites)
        flat, self._unravel = ravel_pytree(zeros)
        self.dimensions: int = flat.size
        indices = self._unravel(jax.numpy.arange(flat.size, dtype=flat.dtype))
        self.layout = layout_of({k: np.asarray(v, int) for k, v in indices.items()}, groups)
        self.held = self._mark(zeros, lambda name: name.endswith(held))
        self.noise = self._mark(zeros, lambda name: name == noise)
        self.free = ~(self.held | self.noise)
        self.even = self.free & ~self._mark(zeros, lambda name: name == uneven)
        self._init, self._step = hmc(
            potential_fn_gen=lambda data, to: lambda w: self._potential(data, self._coloured(to, w))
        )
        self._many = jax.jit(self._energies)
        self._constrained = jax.jit(jax.vmap(self._constrain, in_axes=(0, None)))
        self._programs: Future[tuple[Program, Program]] | None = None

    @staticmethod
    def _mark(sites: dict[str, np.ndarray], chosen: Callable[[str], bool]) -> np.ndarray:
        """Which coordinates of the flat vector belong to the chosen sites."""
        marks = {name: np.full(site.shape, chosen(name)) for name, site in sites.items()}
        return np.asarray(ravel_pytree(marks)[0], bool)

    def energy(self, z: np.ndarray, data: Any) -> tuple[float, np.ndarray]:
        """Minus the log density at a flat vector, and its slope, shape (dimensions,)."""
        ((block, one),) = _blocks(z[None], BLOCK)
        energies, slopes = self._many(block, one, data)
        return float(np.asarray(energies)[0]), np.asarray(slopes)[0]

    def slopes(self, z: np.ndarray, data: Any) -> np.ndarray:
        """Slopes of minus the log density at flat vectors, (vectors, dimensions) like them."""
        found = [self._many(block, count, data)[1] for block, count in _blocks(z, BLOCK)]
        return np.concatenate([np.asarray(slopes) for slopes in found])[: len(z)]

    def constrain(self, z: np.ndarray, data: Any) -> dict[str, np.ndarray]:
        """All sites by name at flat vectors (vectors, dimensions), vectors first."""
        found = [self._constrained(block, data) for block, _ in _blocks(z, DRAWS)]
        return {
            name: np.concatenate([np.asarray(part[name]) for part in found])[: len(z)]
            for name in found[0]
        }

    def compile_ahead(self, data: Any) -> Future[tuple[Program, Program]]:
        """Begin to compile the programs of the chains, in a thread, while the mode is sought.

        The model is traced here and now: NumPyro can trace but one at a time.
        """
        if self._programs is None:
            origin, w = np.zeros(self.dimensions), jnp.zeros(self.dimensions)
            to = jax.device_put(whitening(self.layout, origin, np.eye(self.dimensions)))
            start = jax.jit(self._start).lower(jax.random.key(0), w, (0.0, origin), to, data)
            state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), start.out_info)
            advance = jax.jit(self._advance).lower(state, to, data)
            thread = ThreadPoolExecutor(1)
            self._programs = thread.submit(lambda: (start.compile(), advance.compile()))
            thread.shutdown(wait=False)
        return self._programs

    def chains(self, data: Any) -> tuple[Program, Program]:
        """The program that starts a chain, and the one that advances it by `CHUNK` steps."""
        return self.compile_ahead(data).result()

    def _energies(self, z: Array, count: int, data: Any) -> tuple[Array, Array]:
        """Energy and slope at the first `count` of a block of vectors."""
        value = jax.value_and_grad(partial(self._potential, data))

        def body(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            energy, slope = value(z[i])
            return found[0].at[i].set(energy), found[1].at[i].set(slope)

        nothing = jnp.zeros(BLOCK), jnp.zeros_like(z)
        found: tuple[Array, Array] = lax.fori_loop(0, count, body, nothing)
        return found

    def _potential(self, data: Any, z: Array) -> Array:
        args = (data, *self._static)
        energy: Array = potential_energy(self._model, args, {}, self._unravel(z))
        return energy

    def _constrain(self, z: Array, data: Any) -> dict[str, Array]:
        args = (data, *self._static)
        sites: dict[str, Array] = constrain_fn(
            self._model, args, {}, self._unravel(z), return_deterministic=True
        )
        return sites

    def _coloured(self, to: Whitening, w: Array) -> Array:
        return coloured(self.layout, to, w)

    def _start(
        self, key: Array, w: Array, energy: tuple[float, Array], to: Whitening, data: Any
    ) -> Any:
        # The energy and its slope in z are given, so that no second copy of the model is compiled.
        _, back = jax.vjp(partial(self._coloured, to), w)
        return self._init(
            ParamInfo(w, energy[0], back(energy[1])[0]),
            self._warmup,
            step_size=FIRST_STEP,
            adapt_mass_matrix=False,
            target_accept_prob=self._accept,
            model_args=(data, to),
            rng_key=key,
        )

    def _advance(self, state: Any, to: Whitening, data: Any) -> tuple[Any, dict[str, Array]]:
        def body(state: Any, _: None) -> tuple[Any, dict[str, Array]]:
            state = self._step(state, (data, to), {})
            return state, {
                "z": self._coloured(to, state.z),
                "diverging": state.diverging,
                "n_steps": state.num_steps,
                "acceptance_rate": state.accept_prob,
                "energy": state.energy,
                "step_size": state.adapt_state.step_size,
            }

        final, steps = lax.scan(body, state, None, length=CHUNK)
        return final, steps


def _blocks(z: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Vectors in blocks of one shape, so that any number of them runs the same program.

    With each block how many of its rows are vectors; the others are 0.
    """
    for first in range(0, len(z), size):
        part = z[first : first + size]
        block = np.zeros((size, z.shape[1]))
        block[: len(part)] = part
        yield block, len(part)


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, so that a shape is compiled once.

    `ISOFLOP_CACHE` names another folder, or is `off`. A folder that JAX was given is left alone.
    """
    chosen = os.environ.get("ISOFLOP_CACHE", "")
    if chosen == "off" or jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", chosen or str(Path(root) / "isoflop" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def latent_sites(model: Model, *args: Any) -> dict[str, Array]:
    """The unconstrained values of the sites of one run of the model."""
    trace = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace(*args)
    return {
        name: biject_to(site["fn"].support).inv(site["value"])
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
