"""The walls between the parts: imports go one way, and light commands stay light."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_namespace_has_no_init() -> None:
    assert not [*ROOT.glob("*/isoflop/__init__.py")]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("isoflop.cli", "jax numpy pandas rich.table torch"),
        ("isoflop.forecast.budget", "jax numpy pandas"),
        ("isoflop.training.records", "jax torch uproot"),
        ("isoflop.inference.posterior", "jax numpyro torch"),
        ("isoflop.inference.fit", "torch uproot pythia8mc"),
        ("isoflop.forecast.table", "numpyro torch"),
        ("isoflop.forecast.outcomes", "numpyro torch matplotlib"),
        ("isoflop.forecast.forecast_figures", "matplotlib.pyplot numpyro torch"),
        ("isoflop.forecast.report.page", "matplotlib.pyplot numpyro torch"),
        ("isoflop.training.jets.simulate", "pythia8mc fastjet torch"),
    ],
)
def test_a_module_does_not_pull_in_what_it_does_not_need(module: str, absent: str) -> None:
    loaded = _python(
        f"import {module}, sys; print([m for m in {absent.split()} if m in sys.modules])"
    )
    assert loaded == "[]"


def test_the_wheel_holds_the_three_parts_and_no_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"isoflop", wheel.name.split("-py3")[0] + ".dist-info"}
    for module in ("cli", "files", "training/records", "inference/fit", "forecast/table"):
        assert f"isoflop/{module}.py" in names
    for part in ("page.html", "page.css", "law.js", "chart.js", "page.js"):
        assert f"isoflop/forecast/report/{part}" in names
    assert "isoflop/__init__.py" not in names
