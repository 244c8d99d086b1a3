"""The pages hold: their commands run, print what is shown, and their numbers are the files'."""

import importlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.studies.quoting import joined

from isoflop.inference.backtest import Row
from isoflop.inference.priors import DEFAULT, Normal
from isoflop.training.records import read_records

ROOT = Path(__file__).parents[1]
DOCS = ("first-forecast", "own-runs", "training", "plans", "statistics")
WIDTH = dict.fromkeys((f"docs/{name}.md" for name in DOCS), 80) | {"README.md": 200}
"""Pages whose blocks are run, and the columns of the terminal that they were pasted from."""
BLOCK = re.compile(r"<!-- run(?:: exit (\d))? -->\n```(\w+)\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
METHOD_NAMES = {
    "isoflop": "**isoflop**",
    "approach3-coupled": "approach 3, coupled",
    "approach3": "approach 3 |",
    "varpro": "variable projection",
    "power-law": "power law in C",
    "parabola": "isoFLOP parabolas",
    "shown": "*isoflop, shown",
}
# Another processor may round another way and so sample another chain.
TOLERANCE = 0.15
# Ends of a 95 % interval hang on few draws: two chains put that of a rejection 24 % apart.
END_TOLERANCE = 0.30
INTERVALS = re.compile(r"(\S (–|to) \S.*){2}")


@pytest.mark.slow
@pytest.mark.parametrize("page", WIDTH)
def test_what_a_page_shows_is_what_its_commands_print(page: str, tmp_path: Path) -> None:
    for folder in ("costs", "docs", "scenarios", "studies", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    python = ""
    for code, language, text in blocks:
        if language == "python":  # a page's blocks are one program
            python += text
            run([sys.executable, "-c", python], tmp_path, expected=0)
            continue
        for command, shown in commands(text):
            columns = {"COLUMNS": str(WIDTH[page])}
            printed = run(["bash", "-c", command], tmp_path, expected=int(code or 0), **columns)
            if page == "README.md":
                assert_mostly_shown(shown, printed)
            else:
                assert_shown(shown, printed)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, continued by `> `, with the lines shown after it."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("$ ")] + [len(lines)]
    found = []
    for start, end in pairwise(starts):
        own = lines[start + 1 : end]
        more = [line[2:] for line in own if line.startswith(">")]
        shown = [line for line in own if line and not line.startswith(">")]
        found.append(("\n".join([lines[start][2:], *more]), shown))
    return found


def run(command: list[str], folder: Path, *, expected: int, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= variables
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def assert_shown(shown: list[str], printed: str) -> None:
    """Every line shown is printed, in this order; numbers agree within the tolerance."""
    left = iter(printed.splitlines())
    for line in shown:
        assert any(same_line(line, other) for other in left), f"not printed: {line}\n{printed}"


def assert_mostly_shown(shown: list[str], printed: str) -> None:
    """As `assert_shown`, but one line in five may differ, one of intervals in its last two ends."""
    lines = printed.splitlines()
    missing = [line for line in shown if not any(same_line(line, other) for other in lines)]
    assert len(missing) <= max(3, len(shown) // 5), "\n".join(["not printed:", *missing, printed])
    rows = [line for line in missing if INTERVALS.search(line)]
    far = [row for row in rows if not any(same_line(row, x, END_TOLERANCE) for x in lines)]
    assert not far, "\n".join(["not printed, nor nearly:", *far, printed])


def same_line(shown: str, printed: str, last_two: float = TOLERANCE) -> bool:
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    given, found = NUMBER.findall(shown), NUMBER.findall(printed)
    bounds = [TOLERANCE] * (len(given) - 2) + [last_two] * min(2, len(given))
    return all(
        float(b) == pytest.approx(float(a), rel=bound, abs=0.02)
        for a, b, bound in zip(given, found, bounds, strict=True)
    )


def test_a_row_of_a_page_may_be_off_in_its_last_interval_only_and_by_little() -> None:
    row = "  rejection:Hbb at ε 0.5          {}        2040 – 9930       1180 – {}"
    shown = row.format(3940, 61400)
    assert_mostly_shown([shown], row.format(4300, 67000))
    assert_mostly_shown([shown], row.format(3940, 50200))
    for wrong in (row.format(3940, 36000), row.format(5000, 61400), "  rejection:Hbb 1180 – 61400"):
        with pytest.raises(AssertionError, match="not printed, nor nearly"):
            assert_mostly_shown([shown], wrong)


def test_the_table_of_methods_is_what_the_benchmark_wrote() -> None:
    rows = json.loads((ROOT / "benchmarks" / "extrapolation.json").read_text(encoding="utf-8"))
    frame = pd.DataFrame(rows).assign(crps=lambda table: np.log(table["crps"]))
    crps = frame.pivot_table("crps", ["file", "group", "holdout"], "method")
    ratio = np.exp(crps.sub(crps["approach3"], axis=0).mean())
    means = frame.groupby("method")[["coverage_68", "coverage_95", "mae", "crps"]].mean()
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for method, name in METHOD_NAMES.items():
        one = means.loc[method]
        shown = f"| {one['coverage_68']:.2f} | {one['coverage_95']:.2f} | {one['mae']:.2f} | "
        shown += f"{np.exp(one['crps']):.2f} | {ratio[method]:.2f} |"
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {name}")]
        assert line.replace("*", "").endswith(shown.replace("*", "")), (line, shown)


def test_what_readme_says_of_the_unseen_tables_is_what_the_benchmark_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    extrapolation = importlib.import_module("extrapolation")
    written = ROOT / "benchmarks" / "unseen" / "extrapolation.json"
    rows = [Row(**row) for row in json.loads(written.read_text(encoding="utf-8"))]
    found = extrapolation.summary(rows)
    held = {
        name: f"{one['coverage_68']:.2f} and {one['coverage_95']:.2f}"
        for name, one in found.iterrows()
    }
    ours, coupled = (found.loc[name, "crps_ratio"] for name in ("isoflop", "approach3-coupled"))
    page = joined(ROOT / "README.md")
    assert f"{found.loc['isoflop', 'groups']:.0f} forecasts) the ratio is {ours:.2f}" in page
    assert f"hold {held['isoflop']}, those of approach 3 {held['approach3']}" in page
    assert f"closest there, {coupled:.2f}, and holds {held['approach3-coupled']}" in page


def test_what_readme_says_of_the_designs_is_what_the_benchmark_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    design = importlib.import_module("design")
    rows = json.loads((ROOT / "benchmarks" / "design.json").read_text(encoding="utf-8"))
    scores = pd.DataFrame(rows)
    found = design.summary(scores).xs(0.1, level="share")
    targets = scores.groupby(["file", "group", "level"]).ngroups
    names = {"isoflop": "ours"}
    ratios = ", ".join(
        f"{names.get(method, method)} {ratio:.2f}"
        for method, ratio in found["crps"].dropna().sort_values().items()
    )
    error, everything = found["error"], design.summary(scores).loc[("all", 1.0), "error"]
    said = f"CRPS of {targets} targets over that with all runs: {ratios}; "
    said += f"mean error {error['isoflop']:.1f} %, D-optimal {error['D-optimal']:.1f} %, "
    said += f"{everything:.1f} % with all runs"
    page = joined(ROOT / "README.md")
    assert said in page
    kept = re.search(r"expected: (\S+) \((\S+) – (\S+), 68 %\)", design.kept_promises(scores))
    assert kept is not None
    assert f"found over promised deviation {kept[1]} ({kept[2]}–{kept[3]})" in page
    bound = re.search(
        r"expects (\S+) \(.* that is (\S+) \((\S+) – (\S+)\) of", design.out_of_reach(scores)
    )
    assert bound is not None
    assert f"{bound[2]} ({bound[3]}–{bound[4]}) times the deviation with all runs" in page
    assert f"ours leaves {bound[1]} of the least" in page


def test_what_readme_says_of_the_runs_is_in_the_records() -> None:
    page = joined(ROOT / "README.md")
    runs = read_records(ROOT / "studies" / "jets" / "records")
    repeated = int((runs["samples"] > runs["unique_samples"]).sum())
    high = int((runs["loss"] >= 1.9).sum())
    assert f"{len(runs)} runs, {repeated} of them over repeated jets" in page
    assert f"The {high} of {len(runs)} that have hardly left guessing" in page
    assert f"between {rough(runs['flops'].min())} and {rough(runs['flops'].max())} FLOP" in page
    for group, wording in (
        ("full-40", "reach {loss:.3f} nat and {accuracy:.1%} accuracy"),
        ("full-128", "of 128 particles {loss:.3f} nat and {accuracy:.1%}"),
        ("kin-128", "of 128 particles {loss:.3f} nat and {accuracy:.1%}"),
    ):
        best = runs[runs["group"] == group].nsmallest(1, "loss").iloc[0]
        said = wording.format(loss=best["loss"], accuracy=best["accuracy"])
        assert said.replace("%", " %") in page


def rough(value: float) -> str:
    """One digit, as 4e7."""
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}e{int(power)}"


def test_the_table_of_priors_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    quoted = re.findall(r"(log-normal|Normal)\((log )?(mean[^,]*|−?[\d.]+), ([\d.]+)\)", page)
    priors = [getattr(DEFAULT, one.name) for one in fields(DEFAULT)]
    expected = [(one.location, one.scale) for one in priors if isinstance(one, Normal)]
    given = [(location(*cell[:3]), float(cell[3])) for cell in quoted]
    assert given == pytest.approx(np.array(expected))


def location(kind: str, log: str, text: str) -> float:
    """The location of a prior as the table writes it; the level's is relative to the runs."""
    value = 0.0 if text.startswith("mean") else float(text.replace("−", "-"))
    return math.log(value) if log or kind == "log-normal" else value
