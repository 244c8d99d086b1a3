"""The generated truth of jets: resonances, their visible decay products, and the jets they made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoflop.training.jets.detector import Floats, Integers, Particles
from isoflop.training.jets.processes import NEUTRINOS

try:
    import awkward as ak
except ImportError as error:
    raise ImportError(f'{error.name} is missing; pip install "isoflop[simulation]"') from error


@dataclass(frozen=True)
class Truth:
    """Resonances (for QCD: hard partons) of a batch of events; arrays of shape (resonances,)."""

    event: Integers
    """number of the event"""
    pdg: Integers
    """PDG code"""
    pt: Floats
    """transverse momentum after the initial-state shower [GeV]"""
    eta: Floats
    """pseudorapidity"""
    phi: Floats
    """azimuth"""
    product_eta: Floats
    """of the visible decay products, shape (resonances, products); NaN where there are fewer"""
    product_phi: Floats
    """likewise"""


class Record:
    """The Pythia records of a batch of events as flat arrays, one entry a particle."""

    def __init__(self, events: Any) -> None:
        """Flatten `events`, what Pythia's `nextBatch` returns."""
        particles = events.prt
        n = ak.to_numpy(ak.num(particles))
        self.event = np.repeat(np.arange(len(n)), n)
        self.first = np.repeat(np.cumsum(n) - n, n)  # position of the event's entry 0

        def flat(values: Any) -> NDArray[Any]:
            return ak.to_numpy(ak.flatten(values))  # type: ignore[no-any-return]

        self.pdg = flat(particles.id).astype(np.int64)
        self.status = flat(particles.status)
        self.mother = flat(particles.mother1) + self.first
        self.px, self.py, self.pz = (flat(particles.p[k]) for k in ("px", "py", "pz"))
        self.energy = flat(particles.p.e)
        vertex = particles.vProd
        self.x, self.y, self.z = (flat(ak.fill_none(vertex[k], 0.0)) for k in ("px", "py", "pz"))

    def visible(self) -> Particles:
        """Return the stable particles that a detector may see."""
        final = (self.status > 0) & ~np.isin(np.abs(self.pdg), NEUTRINOS)
        names = ("event", "pdg", "px", "py", "pz", "energy", "x", "y", "z")
        return Particles(**{name: getattr(self, name)[final] for name in names})

    def partons(self) -> Truth:
        """Return the quark or gluon of the hard process of every event."""
        hard = (np.abs(self.status) == 23) & ((np.abs(self.pdg) <= 5) | (self.pdg == 21))
        return self._truth(np.flatnonzero(hard), np.flatnonzero(hard))

    def decays(self, resonance: int) -> Truth:
        """Return the resonances of a PDG code, as they decay, with their visible products.

        The last copy of an outgoing particle of the hard process has status −62; the products of
        its decay chain, before their own showers, have ±23.
        """
        parents = np.flatnonzero((self.status == -62) & (np.abs(self.pdg) == resonance))
        outgoing = (np.abs(self.status) == 23) & ~np.isin(np.abs(self.pdg), NEUTRINOS)
        return self._truth(parents, np.flatnonzero(outgoing))

    def _truth(self, parents: Integers, products: Integers) -> Truth:
        """Return `parents` with those of `products` that descend from them."""
        number = np.full(len(self.pdg), -1)
        number[parents] = np.arange(len(parents))
        ancestor = products.copy()
        # walk up until a parent or the start of the event, whose mother is itself
        while np.any(moving := (number[ancestor] < 0) & (ancestor > self.first[ancestor])):
            ancestor[moving] = self.mother[ancestor[moving]]
        products, of = products[number[ancestor] >= 0], number[ancestor][number[ancestor] >= 0]
        order = np.argsort(of, kind="stable")
        products, of = products[order], of[order]
        slot = np.arange(len(of)) - np.searchsorted(of, of)
        shape = (len(parents), int(slot.max(initial=0)) + 1)
        product_eta, product_phi = np.full(shape, np.nan), np.full(shape, np.nan)
        product_eta[of, slot], product_phi[of, slot] = self._direction(products)
        eta, phi = self._direction(parents)
        return Truth(
            event=self.event[parents],
            pdg=self.pdg[parents],
            pt=np.hypot(self.px[parents], self.py[parents]),
            eta=eta,
            phi=phi,
            product_eta=product_eta,
            product_phi=product_phi,
        )

    def _direction(self, which: Integers) -> tuple[Floats, Floats]:
        px, py = self.px[which], self.py[which]
        return np.arcsinh(self.pz[which] / np.hypot(px, py)), np.arctan2(py, px)


def match(
    event: Integers, eta: Floats, phi: Floats, truth: Truth
) -> tuple[Integers, Integers, Floats]:
    """Return for every jet in an event with a resonance: jet, nearest resonance, their distance.

    `event`, `eta` and `phi` of the jets have shape (jets,). The distance of jet and resonance is
    the ΔR from the jet axis to the farthest visible product.
    """
    jet, partner = np.nonzero(event[:, None] == truth.event[None, :])
    d_eta = eta[jet][:, None] - truth.product_eta[partner]
    d_phi = phi[jet][:, None] - truth.product_phi[partner]
    distance = np.fmax.reduce(delta_r(d_eta, d_phi), axis=1)
    order = np.lexsort((distance, jet))
    jet, first = np.unique(jet[order], return_index=True)
    return jet, partner[order][first], distance[order][first]


def delta_r(d_eta: Floats, d_phi: Floats) -> Floats:
    """Return ΔR = √(Δη² + Δφ²) with Δφ taken around the circle."""
    return np.hypot(d_eta, wrap(d_phi))


def wrap(angle: Floats) -> Floats:
    """Return `angle` in [−π, π)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
