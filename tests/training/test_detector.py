"""The detector gives back the efficiencies and resolutions it states, and keeps the energy."""

import numpy as np
import pytest

from isoflop.training.jets.detector import (
    CHARGED_HADRON,
    ECAL,
    ELECTRON,
    HCAL,
    MUON,
    NEUTRAL_HADRON,
    PHOTON,
    Calorimeter,
    Particles,
    calorimeter,
    cells,
    detect,
    energy_resolution,
    identify,
    impact_parameters,
    impact_resolution,
    lognormal,
    merge,
    track,
    track_resolution,
    tracking_efficiency,
)

N = 40_000
PION, ELECTRON_PDG, MUON_PDG, GAMMA, NEUTRON, KAON_LONG, KAON_SHORT = (
    211,
    11,
    13,
    22,
    2112,
    130,
    310,
)


def particles(
    pdg: int,
    pt: float,
    eta: float,
    *,
    n: int = N,
    vertex: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Particles:
    """`n` massless particles at random azimuth, one an event."""
    phi = np.random.default_rng(0).uniform(-np.pi, np.pi, n)
    one = np.ones(n)
    return Particles(
        event=np.arange(n),
        pdg=np.full(n, pdg),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta) * one,
        energy=pt * np.cosh(eta) * one,
        x=vertex[0] * one,
        y=vertex[1] * one,
        z=vertex[2] * one,
    )


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "expected"),
    [
        (PION, 0.5, 0.3, 0.70),
        (PION, 5.0, 0.3, 0.95),
        (-PION, 0.5, -2.0, 0.60),
        (PION, 5.0, 2.0, 0.85),
        (ELECTRON_PDG, 0.5, 0.3, 0.73),
        (ELECTRON_PDG, 50.0, 2.0, 0.83),
        (ELECTRON_PDG, 150.0, 0.3, 0.99),
        (MUON_PDG, 0.5, 2.0, 0.70),
        (-MUON_PDG, 50.0, -0.3, 0.99),
        (PION, 5.0, 2.7, 0.0),
        (PION, 0.05, 0.3, 0.0),
    ],
)
def test_tracking_efficiency_is_recovered(pdg: int, pt: float, eta: float, expected: float) -> None:
    seen = detect(particles(pdg, pt, eta), np.random.default_rng(1))
    tracks = np.count_nonzero(seen.charge)
    assert abs(tracks / N - expected) <= 4 * np.sqrt(expected * (1 - expected) / N)


def test_neutral_particles_leave_no_track() -> None:
    kind, _ = identify(np.array([GAMMA, NEUTRON, KAON_LONG]))
    assert not tracking_efficiency(kind, np.full(3, 50.0), np.zeros(3)).any()


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "a", "b"),
    [
        (PION, 1.0, 0.2, 0.010, 1.5e-4),
        (PION, 200.0, 1.0, 0.015, 2.5e-4),
        (PION, 50.0, -2.0, 0.025, 5.5e-4),
        (ELECTRON_PDG, 20.0, 0.2, 0.03, 1.3e-3),
        (MUON_PDG, 300.0, 2.0, 0.025, 3.5e-4),
    ],
)
def test_track_resolution_is_recovered(pdg: int, pt: float, eta: float, a: float, b: float) -> None:
    tracks = track(particles(pdg, pt, eta), np.random.default_rng(2))
    ratio = np.hypot(tracks.px, tracks.py) / pt
    sigma = np.sqrt(a**2 + (b * pt) ** 2)
    assert np.mean(ratio) == pytest.approx(1, abs=4 * sigma / np.sqrt(N))
    assert np.std(ratio) == pytest.approx(sigma, rel=0.03)


def test_a_track_keeps_its_direction_and_gets_the_pion_mass() -> None:
    truth = particles(321, 3.0, 1.2, n=100)
    tracks = track(truth, np.random.default_rng(3))
    np.testing.assert_allclose(tracks.py / tracks.px, truth.py / truth.px)
    np.testing.assert_allclose(tracks.pz / tracks.px, truth.pz / truth.px)
    momentum2 = tracks.px**2 + tracks.py**2 + tracks.pz**2
    np.testing.assert_allclose(np.sqrt(tracks.energy**2 - momentum2), 0.13957, rtol=1e-5)


def test_impact_resolution_meets_the_published_points() -> None:
    d0err, dzerr = impact_resolution(np.array([0.2, 50.0, 500.0]), np.zeros(3))
    np.testing.assert_allclose(d0err, [0.35, 0.011, 0.011], rtol=0.02)
    assert np.all(np.diff(dzerr) < 0)


def test_impact_parameters_scatter_about_the_truth_by_their_errors() -> None:
    truth = particles(PION, 2.0, 0.8, vertex=(0.4, -0.3, 1.5))
    d0, dz = impact_parameters(truth)
    tracks = track(truth, np.random.default_rng(4))
    for pull in ((tracks.d0 - d0) / tracks.d0err, (tracks.dz - dz) / tracks.dzerr):
        assert np.mean(pull) == pytest.approx(0, abs=0.02)
        assert np.std(pull) == pytest.approx(1, abs=0.02)


def test_true_impact_parameter_is_the_distance_of_the_line_to_the_beam() -> None:
    truth = particles(PION, 2.0, 0.8, n=200, vertex=(0.4, -0.3, 1.5))
    d0, dz = impact_parameters(truth)
    along = np.linspace(-2, 2, 200_001)  # mm of transverse flight, both ways
    for i in range(0, 200, 20):
        x = truth.x[i] + along * truth.px[i] / 2.0
        y = truth.y[i] + along * truth.py[i] / 2.0
        nearest = np.argmin(np.hypot(x, y))
        assert abs(d0[i]) == pytest.approx(np.hypot(x, y)[nearest], abs=1e-4)
        z = truth.z[i] + along[nearest] * np.sinh(0.8)
        assert dz[i] == pytest.approx(z, abs=1e-4)


def test_neutral_objects_have_no_impact_parameters() -> None:
    seen = detect(particles(GAMMA, 20.0, 0.5, n=500), np.random.default_rng(5))
    assert len(seen.kind) == 500
    for values in (seen.charge, seen.d0, seen.d0err, seen.dz, seen.dzerr):
        assert not values.any()


@pytest.mark.parametrize(
    ("pdg", "energy", "eta", "sigma"),
    [
        (GAMMA, 100.0, 0.0, np.sqrt(0.8**2 + 1.1**2 + 0.4**2)),
        (GAMMA, 20.0, 1.0, 1.64 * np.sqrt(0.16**2 + 0.11**2 * 20 + 0.4**2)),
        (GAMMA, 50.0, 2.0, 2.16 * np.sqrt(0.4**2 + 0.11**2 * 50 + 0.4**2)),
        (KAON_LONG, 100.0, 0.5, np.sqrt(5.0**2 + 15.0**2)),
        (NEUTRON, 400.0, 2.4, np.sqrt(20.0**2 + 30.0**2)),
    ],
)
def test_calorimeter_resolution_is_recovered(
    pdg: int, energy: float, eta: float, sigma: float
) -> None:
    seen = detect(particles(pdg, energy / np.cosh(eta), eta), np.random.default_rng(6))
    assert len(seen.energy) == N
    assert np.mean(seen.energy) == pytest.approx(energy, abs=5 * sigma / np.sqrt(N))
    assert np.std(seen.energy) == pytest.approx(sigma, rel=0.03)


def test_deposits_of_one_cell_become_one_object_with_their_energy() -> None:
    rng = np.random.default_rng(7)
    n = 5000
    event, energy = rng.integers(0, 3, n), rng.exponential(2.0, n)
    eta, phi = rng.uniform(-3, 3, n), rng.uniform(-np.pi, np.pi, n)
    for device in (ECAL, HCAL):
        number, i_eta, i_phi, total = merge(event, eta, phi, energy, device)
        assert total.sum() == pytest.approx(energy.sum())
        for e in range(3):
            assert total[number == e].sum() == pytest.approx(energy[event == e].sum())
        d_phi = 2 * np.pi / device.n_phi
        sums: dict[tuple[int, int, int], float] = {}
        for k in range(n):
            place = int(eta[k] // device.d_eta), int(phi[k] // d_phi) % device.n_phi
            cell = (int(event[k]), *place)
            sums[cell] = sums.get(cell, 0.0) + energy[k]
        merged = dict(
            zip(
                zip(number.tolist(), i_eta.tolist(), i_phi.tolist(), strict=True),
                total,
                strict=True,
            )
        )
        assert merged.keys() == sums.keys()
        assert all(merged[cell] == pytest.approx(value) for cell, value in sums.items())


def test_cells_keep_the_mean_energy_and_the_place() -> None:
    bare = Calorimeter(PHOTON, d_eta=0.0174, n_phi=360, energy_min=0.0, significance_min=0.0)
    truth = particles(GAMMA, 30.0, 1.1, n=2000)
    seen = cells(truth, truth.energy, bare, np.random.default_rng(8))
    assert seen.energy.mean() == pytest.approx(truth.energy.mean(), rel=0.01)
    assert np.abs(np.arcsinh(seen.pz / np.hypot(seen.px, seen.py)) - 1.1).max() < 0.0174
    turn = np.arctan2(
        seen.py * truth.px - seen.px * truth.py, seen.px * truth.px + seen.py * truth.py
    )
    assert np.abs(turn).max() < 2 * np.pi / 360


def test_untracked_charged_hadrons_are_seen_as_neutral_ones() -> None:
    seen = detect(particles(PION, 100.0, 0.3), np.random.default_rng(9))
    assert np.mean(seen.kind == NEUTRAL_HADRON) == pytest.approx(0.05, abs=0.005)
    assert set(np.unique(seen.kind)) == {CHARGED_HADRON, NEUTRAL_HADRON}
    assert len(seen.kind) == N


def test_untracked_muons_and_curling_tracks_are_lost() -> None:
    for pdg, pt in ((MUON_PDG, 50.0), (PION, 0.5)):
        seen = detect(particles(pdg, pt, 0.3), np.random.default_rng(10))
        assert seen.charge.all()
        assert len(seen.charge) < N


def test_short_kaons_share_their_energy_between_the_calorimeters() -> None:
    truth = particles(KAON_SHORT, 200.0, 0.2, n=4000)
    em, had = calorimeter(truth, np.random.default_rng(11))
    total = truth.energy.mean()
    assert em.energy.mean() == pytest.approx(0.3 * total, rel=0.01)
    assert had.energy.mean() == pytest.approx(0.7 * total, rel=0.01)


def test_neutrinos_and_far_particles_are_not_seen() -> None:
    for truth in (particles(12, 50.0, 0.0, n=100), particles(GAMMA, 50.0, 3.1, n=100)):
        assert len(detect(truth, np.random.default_rng(12)).energy) == 0


def test_kinds_and_charges_follow_the_pdg_code() -> None:
    kind, charge = identify(np.array([211, -321, 2212, -11, 13, 22, 130, 3122, -3112]))
    hadron, neutral = CHARGED_HADRON, NEUTRAL_HADRON
    expected = [hadron, hadron, hadron, ELECTRON, MUON, PHOTON, neutral, neutral, hadron]
    assert kind.tolist() == expected
    assert charge.tolist() == [1, -1, 1, 1, -1, 0, 0, 0, 1]


def test_the_same_generator_gives_the_same_objects() -> None:
    truth = particles(PION, 10.0, 0.3, n=300)
    one, two = (detect(truth, np.random.default_rng(13)) for _ in range(2))
    np.testing.assert_array_equal(one.px, two.px)
    np.testing.assert_array_equal(one.d0, two.d0)


def test_objects_come_in_the_order_of_their_events() -> None:
    seen = detect(particles(PION, 10.0, 0.3), np.random.default_rng(14))
    assert np.all(np.diff(seen.event) >= 0)


def test_lognormal_has_the_mean_and_the_spread_asked_for() -> None:
    values = lognormal(np.full(400_000, 5.0), np.full(400_000, 2.0), np.random.default_rng(15))
    assert values.mean() == pytest.approx(5.0, abs=0.02)
    assert values.std() == pytest.approx(2.0, rel=0.02)
    assert values.min() > 0


def test_resolutions_do_not_depend_on_the_side_of_the_detector() -> None:
    pt, eta, kind = np.full(50, 20.0), np.linspace(0, 2.4, 50), np.full(50, CHARGED_HADRON)
    np.testing.assert_array_equal(track_resolution(kind, pt, eta), track_resolution(kind, pt, -eta))
    for device in (ECAL, HCAL):
        left, right = (energy_resolution(pt, side, device) for side in (-eta, eta))
        np.testing.assert_array_equal(left, right)
