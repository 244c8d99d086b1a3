"""A parametrised CMS-like detector: from stable particles to energy-flow objects.

Efficiencies and resolutions follow the public Delphes card of CMS (arXiv:1307.6346; tracks after
arXiv:1405.6569, calorimeters after arXiv:1306.2016 and arXiv:1502.02701). An electron, muon or
charged hadron that is tracked becomes one track. All that is neutral, and the electrons and charged
hadrons that the tracker missed, deposit their energy in calorimeter cells; one cell becomes one
object. So one particle of a jet is one track or one cell.

Left out on purpose: bending in the field (objects keep the direction at their vertex, and only
missed tracks below 0.74 GeV are stopped short of the calorimeter), pile-up, secondary interactions,
misidentification, and the confusion of track and cell energies (the particle flow is perfect).

Units: GeV, mm, radian. Every function is pure: arrays of one entry a particle in, arrays out.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)

TRACKER_ETA = 2.5
CALORIMETER_ETA = 3.0
TRACKER_PT = 0.1  # GeV; below it no track is found
# 0.3 B r / 2 with B = 3.8 T and r = 1.29 m: below it a charged particle curls up in the tracker
CURL_PT = 0.3 * 3.8 * 1.29 / 2

# charge of the positive PDG codes that live longer than cτ = 10 mm; all others are neutral
CHARGES = {11: -1, 13: -1, 211: 1, 321: 1, 2212: 1, 3112: -1, 3222: 1, 3312: -1, 3334: -1}
PION_MASS, ELECTRON_MASS, MUON_MASS = 0.13957, 0.000511, 0.10566
# mass that the reconstruction assumes; it cannot tell a kaon from a pion
TRACK_MASSES = {CHARGED_HADRON: PION_MASS, ELECTRON: ELECTRON_MASS, MUON: MUON_MASS}

# Per kind: |η| edge -> pT edges [GeV] and the efficiency above each of them.
TRACKING_EFFICIENCY = {
    CHARGED_HADRON: {1.5: {0.1: 0.70, 1.0: 0.95}, 2.5: {0.1: 0.60, 1.0: 0.85}},
    ELECTRON: {1.5: {0.1: 0.73, 1.0: 0.95, 100.0: 0.99}, 2.5: {0.1: 0.50, 1.0: 0.83, 100.0: 0.90}},
    MUON: {1.5: {0.1: 0.75, 1.0: 0.99}, 2.5: {0.1: 0.70, 1.0: 0.98}},
}
# Per kind: |η| edge -> (a, b) of σ(pT)/pT = a ⊕ b pT.
TRACK_RESOLUTION = {
    CHARGED_HADRON: {0.5: (0.010, 1.5e-4), 1.5: (0.015, 2.5e-4), 2.5: (0.025, 5.5e-4)},
    ELECTRON: {0.5: (0.03, 1.3e-3), 1.5: (0.05, 1.7e-3), 2.5: (0.15, 3.1e-3)},
    MUON: {0.5: (0.010, 1.0e-4), 1.5: (0.015, 1.5e-4), 2.5: (0.025, 3.5e-4)},
}


@dataclass(frozen=True)
class Particles:
    """Stable particles of many events; every array has shape (particles,)."""

    event: Integers
    """number of the event"""
    pdg: Integers
    """PDG code"""
    px: Floats
    """momentum [GeV]"""
    py: Floats
    pz: Floats
    energy: Floats
    """energy [GeV]"""
    x: Floats
    """production vertex [mm]; the primary vertex is the origin"""
    y: Floats
    z: Floats

    def __getitem__(self, mask: Booleans) -> Self:
        """Return the particles that `mask` selects."""
        return type(self)(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})


@dataclass(frozen=True)
class EnergyFlow:
    """Energy-flow objects of many events, sorted by event; every array has shape (objects,)."""

    event: Integers
    """number of the event"""
    kind: Integers
    """CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON or MUON"""
    charge: Integers
    """electric charge [e]"""
    px: Floats
    """momentum [GeV]"""
    py: Floats
    pz: Floats
    energy: Floats
    """energy [GeV]"""
    d0: Floats
    """transverse impact parameter [mm]; 0 for neutral objects, as its error and dz"""
    d0err: Floats
    dz: Floats
    """longitudinal impact parameter [mm]"""
    dzerr: Floats


def detect(particles: Particles, rng: np.random.Generator) -> EnergyFlow:
    """Return what the detector makes of `particles`; those outside |η| < 3 are not seen."""
    seen = np.abs(_eta(particles)) < CALORIMETER_ETA
    particles = particles[seen & ~np.isin(np.abs(particles.pdg), (12, 14, 16))]
    kind, charge = identify(particles.pdg)
    pt, eta = np.hypot(particles.px, particles.py), _eta(particles)
    tracked = rng.random(len(pt)) < tracking_efficiency(kind, pt, eta)
    reaches = ~tracked & (kind != MUON) & ((charge == 0) | (pt > CURL_PT))
    tracks = track(particles[tracked], rng)
    objects = [tracks, *calorimeter(particles[reaches], rng)]
    order = np.argsort(np.concatenate([o.event for o in objects]), kind="stable")
    return EnergyFlow(
        **{
            f.name: np.concatenate([getattr(o, f.name) for o in objects])[order]
            for f in fields(EnergyFlow)
        }
    )


def identify(pdg: Integers) -> tuple[Integers, Integers]:
    """Return kind and charge of stable particles by their PDG code."""
    charge = np.zeros(len(pdg), np.int64)
    for code, value in CHARGES.items():
        charge[np.abs(pdg) == code] = value
    charge *= np.sign(pdg)
    kind = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON)
    for code, value in {22: PHOTON, 11: ELECTRON, 13: MUON}.items():
        kind[np.abs(pdg) == code] = value
    return kind, charge


# --- tracks ---------------------------------------------------------------------------------------


def track(particles: Particles, rng: np.random.Generator) -> EnergyFlow:
    """Return the tracks of charged `particles`: pT and impact parameters smeared.

    The direction is kept, the energy is that of the mass which the reconstruction assumes.
    """
    kind, charge = identify(particles.pdg)
    pt, eta = np.hypot(particles.px, particles.py), _eta(particles)
    scale = lognormal(np.ones(len(pt)), track_resolution(kind, pt, eta), rng)
    px, py, pz = particles.px * scale, particles.py * scale, particles.pz * scale
    mass = np.zeros(len(pt))
    for code, value in TRACK_MASSES.items():
        mass[kind == code] = value
    d0, dz = impact_parameters(particles)
    d0err, dzerr = impact_resolution(pt, eta)
    return EnergyFlow(
        event=particles.event,
        kind=kind,
        charge=charge,
        px=px,
        py=py,
        pz=pz,
        energy=np.sqrt(px**2 + py**2 + pz**2 + mass**2),
        d0=d0 + d0err * rng.standard_normal(len(pt)),
        d0err=d0err,
        dz=dz + dzerr * rng.standard_normal(len(pt)),
        dzerr=dzerr,
    )


def tracking_efficiency(kind: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return the probability to find a track, by kind, pT [GeV] and η; 0 for neutral particles."""
    efficiency = np.zeros(len(pt))
    for code, regions in TRACKING_EFFICIENCY.items():
        inner = 0.0
        for outer, steps in regions.items():
            here = (kind == code) & (np.abs(eta) >= inner) & (np.abs(eta) < outer)
            for threshold, value in steps.items():
                efficiency[here & (pt > threshold)] = value
            inner = outer
    return efficiency


def track_resolution(kind: Integers, pt: Floats, eta: Floats) -> Floats:
    """Return σ(pT)/pT = a ⊕ b pT of tracks, by kind, pT [GeV] and η (TRACK_RESOLUTION)."""
    resolution = np.zeros(len(pt))
    for code, regions in TRACK_RESOLUTION.items():
        inner = 0.0
        for outer, (a, b) in regions.items():
            here = (kind == code) & (np.abs(eta) >= inner) & (np.abs(eta) < outer)
            resolution[here] = np.hypot(a, b * pt[here])
            inner = outer
    return resolution


def impact_parameters(particles: Particles) -> tuple[Floats, Floats]:
    """Return true d0 and dz [mm] with respect to the origin, along the tangent at the vertex.

    d0 = (x py − y px)/pT and dz = z − (x px + y py) pz/pT²: the curvature over a flight of
    millimetres is neglected.
    """
    pt = np.hypot(particles.px, particles.py)
    d0 = (particles.x * particles.py - particles.y * particles.px) / pt
    along = (particles.x * particles.px + particles.y * particles.py) / pt
    return d0, particles.z - along * particles.pz / pt


def impact_resolution(pt: Floats, eta: Floats) -> tuple[Floats, Floats]:
    """Return σ(d0) and σ(dz) [mm] of tracks of transverse momentum `pt` [GeV].

    A constant term of the sensors, and multiple scattering that goes as 1/(p sin^{3/2}θ) for d0
    and as 1/(p sin^{5/2}θ) for dz:
    σ(d0) = 0.011 ⊕ 0.07 cosh^{1/2}η / pT and σ(dz) = 0.03 coshη ⊕ 0.09 cosh^{3/2}η / pT,
    so 0.35 mm at 0.2 GeV and 0.011 mm above 50 GeV, as measured (arXiv:1405.6569).
    """
    stretch = np.cosh(eta)
    d0err = np.hypot(0.011, 0.07 * np.sqrt(stretch) / pt)
    return d0err, np.hypot(0.03 * stretch, 0.09 * stretch**1.5 / pt)


# --- calorimeters ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calorimeter:
    """Cells and thresholds of one calorimeter."""

    kind: int
    """what one of its cells is called: PHOTON or NEUTRAL_HADRON"""
    d_eta: float
    """cell size in η"""
    n_phi: int
    """number of cells around the beam"""
    energy_min: float
    """lowest energy of a cell [GeV]"""
    significance_min: float
    """lowest E/σ(E) of a cell"""


ECAL = Calorimeter(kind=PHOTON, d_eta=0.0174, n_phi=360, energy_min=0.5, significance_min=2.0)
HCAL = Calorimeter(kind=NEUTRAL_HADRON, d_eta=0.087, n_phi=72, energy_min=1.0, significance_min=1.0)


def calorimeter(particles: Particles, rng: np.random.Generator) -> tuple[EnergyFlow, EnergyFlow]:
    """Return the objects of ECAL and of HCAL that `particles` make."""
    em = ecal_fraction(particles.pdg)
    return (
        cells(particles, particles.energy * em, ECAL, rng),
        cells(particles, particles.energy * (1 - em), HCAL, rng),
    )


def ecal_fraction(pdg: Integers) -> Floats:
    """Return the share of the energy left in the ECAL: e, γ 1; K0S, Λ 0.3; other hadrons 0."""
    code = np.abs(pdg)
    return np.where(np.isin(code, (11, 22)), 1.0, np.where(np.isin(code, (310, 3122)), 0.3, 0.0))


def cells(
    particles: Particles, deposit: Floats, calorimeter: Calorimeter, rng: np.random.Generator
) -> EnergyFlow:
    """Return the cells above threshold: deposits [GeV] of one cell summed, then smeared.

    A cell is a massless object without charge, at a random place inside the cell.
    """
    hit = deposit > 0
    event, i_eta, i_phi, energy = merge(
        particles.event[hit],
        _eta(particles)[hit],
        np.arctan2(particles.py, particles.px)[hit],
        deposit[hit],
        calorimeter,
    )
    d_phi = 2 * np.pi / calorimeter.n_phi
    centre = (i_eta.astype(np.float64) + 0.5) * calorimeter.d_eta
    sigma = energy_resolution(energy, centre, calorimeter)
    measured = lognormal(energy, sigma, rng)
    eta = (i_eta + rng.random(len(energy))) * calorimeter.d_eta
    phi = (i_phi + rng.random(len(energy))) * d_phi
    noise = energy_resolution(measured, eta, calorimeter)
    kept = (measured > calorimeter.energy_min) & (measured > calorimeter.significance_min * noise)
    event, eta, phi, measured = event[kept], eta[kept], phi[kept], measured[kept]
    pt = measured / np.cosh(eta)
    none, zero = np.zeros(len(pt), np.int64), np.zeros(len(pt))
    return EnergyFlow(
        event=event,
        kind=none + calorimeter.kind,
        charge=none,
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        energy=measured,
        d0=zero,
        d0err=zero,
        dz=zero,
        dzerr=zero,
    )


def merge(
    event: Integers, eta: Floats, phi: Floats, energy: Floats, calorimeter: Calorimeter
) -> tuple[Integers, Integers, Integers, Floats]:
    """Sum the energies [GeV] of one cell; return event, η index, φ index and energy of the cells.

    Cell (i, j) spans i ≤ η/Δη < i + 1 and j ≤ φ/Δφ < j + 1; all arrays one entry a cell.
    """
    n_phi = calorimeter.n_phi
    i_eta = np.floor(eta / calorimeter.d_eta).astype(np.int64)
    i_phi = np.floor(phi * n_phi / (2 * np.pi)).astype(np.int64) % n_phi
    n_eta = 2 * int(np.ceil(CALORIMETER_ETA / calorimeter.d_eta)) + 2
    key = (event * n_eta + i_eta + n_eta // 2) * n_phi + i_phi
    cell, which = np.unique(key, return_inverse=True)
    total = np.bincount(which, weights=energy, minlength=len(cell)).astype(np.float64)
    ring = cell // n_phi
    return ring // n_eta, ring % n_eta - n_eta // 2, cell % n_phi, total


def energy_resolution(energy: Floats, eta: Floats, calorimeter: Calorimeter) -> Floats:
    """Return σ(E) [GeV] of a cell of energy E [GeV] at η.

    ECAL: (1 + 0.64 η²) f for |η| < 1.5 and (2.16 + 5.6 (|η| − 2)²) f for 1.5 < |η| < 2.5, where
    f = 0.008 E ⊕ 0.11 √E ⊕ 0.40, and 0.107 E ⊕ 2.08 √E beyond. HCAL: 0.05 E ⊕ 1.5 √E.
    """
    if calorimeter.kind == NEUTRAL_HADRON:
        return np.sqrt((0.05 * energy) ** 2 + 1.5**2 * energy)
    edge = np.abs(eta)
    central = np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.40**2)
    forward = np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy)
    shape = np.where(edge < 1.5, 1 + 0.64 * edge**2, 2.16 + 5.6 * (edge - 2) ** 2)
    return np.where(edge < 2.5, shape * central, forward)


def lognormal(mean: Floats, sigma: Floats, rng: np.random.Generator) -> Floats:
    """Draw positive values with the given mean and standard deviation (log-normal)."""
    width = np.sqrt(np.log1p((sigma / mean) ** 2))
    return mean * np.exp(width * rng.standard_normal(len(mean)) - width**2 / 2)


def _eta(particles: Particles) -> Floats:
    pt = np.hypot(particles.px, particles.py)
    return np.arcsinh(particles.pz / np.maximum(pt, 1e-9))
