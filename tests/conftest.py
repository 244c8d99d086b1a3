"""Settings for all tests."""

from hypothesis import settings

# The first call of a law compiles, which says nothing about it; and CI should not draw its luck.
settings.register_profile("isoflop", deadline=None, derandomize=True)
settings.load_profile("isoflop")
