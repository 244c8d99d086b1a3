"""The page of the budget study quotes its table, and its table is what the law files give."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.studies.quoting import page_of

from isoflop.inference.lawfile import read_law
from isoflop.inference.posterior import save
from isoflop.inference.published import published_posterior

STUDY = Path(__file__).parents[2] / "studies" / "budget"
BUDGETS = (4e20, 1e23)


Table = dict[tuple[str, str, float], dict[Any, Any]]


@pytest.fixture(scope="module")
def table() -> Table:
    """Rows by law, quantity and budget; the exponents, which belong to no budget, at 0."""
    rows = pd.read_csv(STUDY / "budget.csv").fillna({"budget_flops": 0.0}).to_dict("records")
    return {(row["law"], row["quantity"], row["budget_flops"]): row for row in rows}


def power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def cell(row: dict[Any, Any], form: str) -> str:
    """Median and 68 % interval as the page writes them."""
    columns = ("median", "low_68", "high_68")
    texts = [power(row[c]) if form == "e" else f"{row[c]:{form}}" for c in columns]
    return f"{texts[0]} ({texts[1]}–{texts[2]})"


def test_the_page_quotes_the_table(table: Table) -> None:
    page = page_of(STUDY.name)
    missing = []
    for law in ("GN3", "JetClass"):
        for flops in BUDGETS:
            forms = {"params_opt": "e", "samples_opt": "e"}
            forms["loss"] = ".2f" if law == "GN3" else ".3f"
            forms |= {"left": ".3f"} if flops == 1e23 else {}
            cells = [cell(table[law, name, flops], form) for name, form in forms.items()]
            missing += [text for text in cells if text not in page]
        for name in ("params_exponent", "samples_exponent", "loss_exponent"):
            row = table[law, name, 0.0]
            missing += [cell(row, ".3f")] if cell(row, ".3f") not in page else []
    assert not missing
    large, small = (table["GN3", f"excess_{one}", 1e23]["median"] for one in ("large", "small"))
    assert f"{large:.1%}".replace("%", " %") + " larger" in page
    assert f"a third of it {small:.1%}".replace("%", " %") in page
    tied = [table["GN3", name, 1e23] for name in ("left_tied", "left_opposed")]
    low, high = min(row["low_68"] for row in tied), max(row["high_68"] for row in tied)
    assert f"within {low:.3f} to {high:.3f}" in page


def test_the_law_files_give_the_table(tmp_path: Path) -> None:
    paths = []
    for name in ("gn3", "jetclass"):
        paths.append(str(tmp_path / f"{name}.nc"))
        save(published_posterior(read_law(STUDY / f"{name}.toml")), paths[-1])
    made = tmp_path / "budget.csv"
    outputs = ["--table", str(made), "--curves", str(tmp_path / "curves.csv")]
    words = [*paths, "--budget", *(f"{flops:g}" for flops in BUDGETS), *outputs]
    subprocess.run([sys.executable, str(STUDY / "spend.py"), *words], check=True)
    ours, committed = pd.read_csv(made), pd.read_csv(STUDY / "budget.csv")
    assert ours["quantity"].tolist() == committed["quantity"].tolist()
    numbers = ours.columns[3:]
    assert np.allclose(ours[numbers], committed[numbers], rtol=2e-3)
