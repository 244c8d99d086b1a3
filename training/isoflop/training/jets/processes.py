"""What Pythia is told to make each of the ten JetClass classes of jets: plain settings."""

from dataclasses import dataclass

NEUTRINOS = (12, 14, 16)  # PDG codes

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "Random:setSeed = on",
    "ParticleDecays:limitTau0 = on",  # beyond 10 mm (K0S, Λ) a particle reaches the detector
    "ParticleDecays:tau0Max = 10.",
    "Check:event = off",  # of its own bookkeeping, for speed
)


@dataclass(frozen=True)
class Process:
    """What Pythia is told to make one class of jets."""

    resonance: int
    """PDG code of the particle whose decay makes the jet; 0: jets of a hard quark or gluon"""
    settings: tuple[str, ...]
    """Pythia settings: hard process and forced decays"""
    alternatives: tuple[tuple[str, ...], ...] = ((),)
    """settings that take turns, batch by batch"""


_HZ = (
    "HiggsSM:ffbar2HZ = on",
    "23:onMode = off",
    "23:onIfAny = 12 14 16",
    "25:onMode = off",
)
_W_TO_QQ = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")
_TOPS = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")

GENERATION = {
    "ZJetsToNuNu": Process(
        resonance=0,
        settings=(
            "WeakBosonAndParton:qqbar2gmZg = on",
            "WeakBosonAndParton:qg2gmZq = on",
            "WeakZ0:gmZmode = 2",
            "23:onMode = off",
            "23:onIfAny = 12 14 16",
        ),
    ),
    "HToBB": Process(resonance=25, settings=(*_HZ, "25:onIfMatch = 5 -5")),
    "HToCC": Process(resonance=25, settings=(*_HZ, "25:onIfMatch = 4 -4")),
    "HToGG": Process(resonance=25, settings=(*_HZ, "25:onIfMatch = 21 21")),
    "HToWW4Q": Process(resonance=25, settings=(*_HZ, "25:onIfMatch = 24 -24", *_W_TO_QQ)),
    "HToWW2Q1L": Process(
        resonance=25,
        settings=(*_HZ, "25:onIfMatch = 24 -24"),
        # one W decays to quarks and the other to a lepton; both charges of the lepton in turn
        alternatives=(
            ("24:onMode = off", "24:onPosIfAny = 1 2 3 4 5", "24:onNegIfAny = 11 13"),
            ("24:onMode = off", "24:onNegIfAny = 1 2 3 4 5", "24:onPosIfAny = 11 13"),
        ),
    ),
    "ZToQQ": Process(
        resonance=23,
        settings=(
            "WeakDoubleBoson:ffbar2gmZgmZ = on",
            "WeakZ0:gmZmode = 2",
            "23:onMode = off",
            "23:onIfAny = 1 2 3 4 5",
        ),
    ),
    "WToQQ": Process(resonance=24, settings=("WeakDoubleBoson:ffbar2WW = on", *_W_TO_QQ)),
    "TTBar": Process(resonance=6, settings=(*_TOPS, *_W_TO_QQ)),
    "TTBarLep": Process(resonance=6, settings=(*_TOPS, "24:onMode = off", "24:onIfAny = 11 13")),
}
