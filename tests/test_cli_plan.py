"""`isoflop plan` as its user meets it."""

import json
import re
from pathlib import Path

import pytest
from tests.command import assert_refused, run

COSTS = Path(__file__).parents[1] / "costs"


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--help") == 0
    assert "Example: isoflop plan posterior.nc --costs costs/delphes.toml" in re.sub(
        r"\s+", " ", capsys.readouterr().out
    )


@pytest.mark.slow
def test_a_budget_in_a_currency_is_answered_in_it(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--costs", str(COSTS / "delphes.toml"), "--budget", "28 CHF")
    assert run("plan", str(posterior_nc), *words) == 0
    out = capsys.readouterr().out
    assert "full-40 for 28 CHF (Delphes-like jets, H100)" in out
    assert re.search(r"  true cost 68 % \S+ – \S+ CHF, 95 % ", out)
    assert re.search(r"  worth .*, 30\.8 USD at the medians", out)
    assert " for " in out and "USD more" not in out


@pytest.mark.slow
def test_a_plan_is_printed_drawn_and_written(
    posterior_nc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--costs", str(COSTS / "delphes.toml"), "--budget", "5 h on 2 GPUs")
    out = {"--figure": "p.png", "--json": "p.json", "--production": "r.md", "--jobs": "j.csv"}
    files = [word for pair in out.items() for word in (pair[0], str(tmp_path / pair[1]))]
    assert run("plan", str(posterior_nc), *words, *files, "--target", "loss 0.83") == 0
    captured = capsys.readouterr()
    head = "full-40 for 5 h on 2 GPUs, 28 USD for all of it (Delphes-like jets, H100)"
    assert head in captured.out
    assert "worth 10 GPU-h" in captured.out
    assert re.search(r"parameters N +\S+ +as good: \S+ – \S+", captured.out)
    assert re.search(r"loss \[nat\] +0\.\d+ +0\.\d+ – 0\.\d+", captured.out)
    assert "this plan reaches loss 0.83 with probability" in captured.out
    assert "The prior alone decides ω of full-40" in captured.out
    assert "Verdict: " in captured.err
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "p.json").read_text())["budget"] == pytest.approx(28.0)
    assert (tmp_path / "r.md").read_text().count("\n") == 13
    assert (tmp_path / "j.csv").read_text().count("\n") == 2


@pytest.mark.slow
def test_training_alone_needs_no_cost_file_and_quiet_is_quiet(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("plan", str(posterior_nc), "--budget", "1e13", "--quiet", "--json", "-") == 0
    captured = capsys.readouterr()
    plan = json.loads(captured.out)["options"][0]["plan"]
    assert plan["flops"] == pytest.approx(1e13, rel=1e-6)
    assert captured.err == ""


@pytest.mark.slow
def test_quiet_says_a_bad_verdict_of_a_plan_and_of_a_design(
    posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for words in (("plan",), ("design", "--spend", "1e11", "--runs", "1")):
        command, *others = words
        assert run(command, str(posterior_nc), "--budget", "1e17", "--quiet", *others) == 0
        out, said = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(
            r"Verdict: NOT to be trusted \d\.\d decades beyond the runs: .*\n", said
        )


@pytest.mark.slow
def test_strict_exits_3_on_a_plan_further_than_the_runs_span(posterior_nc: Path) -> None:
    near, far = (
        ("plan", str(posterior_nc), "--budget", c, "-q", "--strict") for c in ("1e12", "1e17")
    )
    assert run(*near) == 0
    assert run(*far) == 3


@pytest.mark.slow
def test_same_seed_same_answer(posterior_nc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    words = ("plan", str(posterior_nc), "--budget", "1e14", "-q", "--json", "-")
    texts = []
    for seed in ("1", "1", "2"):
        assert run(*words, "--seed", seed) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "5"), "budget 5 is 5 FLOP, below 1.2e+07 FLOP, what the cheapest run"),
        (
            ("--budget", "100", "--costs", str(COSTS / "cpu.toml")),
            "budget 100 (without a unit it counts FLOP; did you mean 100 USD?) is 5.1",
        ),
        (
            ("--budget", "1e30", "--costs", str(COSTS / "cpu.toml")),
            "budget 1e30 (without a unit it counts FLOP) is 5.",
        ),
        (("--budget", "1e19"), "11.9 decades above the cheapest run ever trained in full-40"),
        (("--target", "loss 5"), "target loss 5 is met already by the cheapest run ever trained"),
        (("--target", "rejection:Hbb 100"), "the posterior has no link from the loss to the rej"),
        (("--budget", "1e14", "--group", "x"), "unknown group 'x'; this posterior has full-40"),
        (("--budget", "1e14", "--max-jets", "10"), "at most 10 jets allows 10 jets, which contra"),
    ],
)
def test_a_question_out_of_reach_is_refused_in_one_line(
    words: tuple[str, ...], message: str, posterior_nc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run("plan", str(posterior_nc), *words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("isoflop: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --budget, --target, or both"),
        (("--budget", "much"), "budget 'much': no number in front; write it like 2000 USD"),
        (
            ("--budget", "5 days on 8 GPUs"),
            "budget '5 days on 8 GPUs': only training FLOP are counted without a cost file; give "
            "--costs costs/training.toml for samples that exist already, costs/delphes.toml for",
        ),
        (("--budget", "0"), "budget '0' must be positive and finite, as '2000 USD'"),
        (("--budget", "-5"), "budget '-5' must be positive and finite"),
        (
            ("--budget", "1e14", "--costs", "none.toml"),
            "no cost file at none.toml; costs/delphes.toml in",
        ),
        (("--budget", "1e14", "--measured", "runs/"), "--measured needs --costs, the file whose"),
        (("--target", "loss"), "target 'loss': write a quantity and a positive number"),
        (("--target", "loss 0.4", "--probability", "2"), "the probability is 2; it must lie"),
        (("--budget", "1e14", "--figure", "p.xyz"), "--figure is p.xyz; its name must end in"),
        (
            ("--budget", "1e14", "--jobs", "p.xyz"),
            "--jobs is p.xyz; its name must end in .csv or .js",
        ),
        (("--budget", "1e14", "--latency", "3"), "latency = '3' has no unit; give it in ms or s"),
        (("--budget", "1e14"), "no posterior at none.nc; make one with `isoflop fit`"),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused("plan", "none.nc", *words, said=message, folder=tmp_path, capsys=capsys)
