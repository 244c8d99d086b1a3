import subprocess
import sys

import pytest

from isoflop.forecast.budget import parse_budget, parse_speed


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("1e21", 1e21),
        ("1e21 FLOP", 1e21),
        ("1E21FLOPs", 1e21),
        ("3 EFLOP", 3e18),
        ("3EFLOP", 3e18),
        (" .5 YFLOP ", 5e23),
        ("12 kFLOP", 1.2e4),
        ("100 GPU-h", 3.6e5 * 4e14),
        ("2 GPU-d", 2 * 86400 * 4e14),
        ("30GPU-s", 30 * 4e14),
    ],
)
def test_budget_is_read_in_flop(text: str, flops: float) -> None:
    assert parse_budget(text, flops_per_second=4e14) == pytest.approx(flops, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "budget '0' is 0 FLOP; it must be positive and finite, e.g. 1e21"),
        ("0 GPU-h", "budget '0 GPU-h' is 0 FLOP; it must be positive"),
        ("-1e20 FLOP", "budget '-1e20 FLOP' is -1e+20 FLOP; it must be positive"),
        ("nan", "budget 'nan' is nan FLOP; it must be positive"),
        ("inf", "budget 'inf' is inf FLOP; it must be positive"),
        ("1e999", "budget '1e999' is inf FLOP; it must be positive"),
        ("3 parsec", "budget '3 parsec': unknown unit 'parsec'; use one of FLOP"),
        ("3 XFLOP", "budget '3 XFLOP': unknown unit 'XFLOP'; use one of FLOP"),
        ("3 FLOP/s", "unknown unit 'FLOP/s'; use one of FLOP"),
        ("3 eflop", "unknown unit 'eflop'"),
        ("much", "budget 'much': no number in front; write it like 1e21"),
        ("", "budget '': no number in front; write it like 1e21"),
        ("EFLOP", "no number in front"),
    ],
)
def test_bad_budget_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_budget(text, flops_per_second=4e14)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gpu_time_without_a_speed_names_the_option() -> None:
    with pytest.raises(ValueError, match="give the FLOP/s that it sustains with --speed"):
        parse_budget("100 GPU-h")


def test_speed_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="speed '0' is 0 FLOP/s; it must be positive and finite"):
        parse_budget("100 GPU-h", flops_per_second=0.0)


def test_speed_is_read_in_flop_per_second() -> None:
    assert parse_speed("400 TFLOP/s") == pytest.approx(4e14)
    assert parse_speed("4e14") == 4e14


@pytest.mark.parametrize("text", ["400 TFLOP", "0 TFLOP/s", "fast", "-1", "400 QFLOP/s"])
def test_bad_speed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^speed "):
        parse_speed(text)


def test_reading_a_budget_imports_neither_jax_nor_pandas() -> None:
    code = (
        "import sys, isoflop.forecast.budget; "
        "sys.exit(bool({'jax', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
