import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isoflop.forecast.cost import cost_draws, cost_parts, price_draws, prices
from isoflop.forecast.costmodel import Costs, read_costs, training_alone, with_measured_speed
from isoflop.forecast.money import in_currency, in_unit, units_of, worth
from isoflop.forecast.units import parse_amount

COSTS = Path(__file__).parents[2] / "costs"
YEAR = 31557600.0
# A file whose prices can be worked out by hand: 6 TFLOP/s at 2 USD a GPU-hour, 1 core-s a jet.
PLAIN = """
name = "plain"
currency = "USD"
[exchange]
EUR = "1.25 USD"
[device]
name = "cpu"
peak = "600 TFLOP/s"
utilisation = "1 %"
serving = "2 %"
price = "2 USD/GPU-h"
power = "500 W"
memory = "80 GB"
[energy]
price = "0.2 USD/kWh"
overhead = "1.5"
[simulation]
name = "toy"
time = "1 core-s/jet"
price = "0.02 USD/core-h"
core = "10 HS23/core"
[storage]
size = "2 kB/jet"
price = "50 USD/TB/year"
kept = "4 years"
[inference]
jets = "1e9 jet/year"
duration = "3 years"
[production]
processes = ["signal", "background"]
jets_per_file = 1000
cores = 100
"""


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    """The plain cost file with some of its text replaced."""
    text = PLAIN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "costs.toml"
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    """The whole message with which a cost file is refused."""
    with pytest.raises(ValueError) as caught:
        read_costs(path)
    return str(caught.value)


@pytest.fixture
def plain(tmp_path: Path) -> Costs:
    return read_costs(written(tmp_path))


@pytest.mark.parametrize("path", sorted(COSTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_committed_cost_file_is_read(path: Path) -> None:
    costs = read_costs(path)
    assert prices(costs).flop > 0.0
    if path.stem == "training":
        return
    draws = price_draws(costs, 4000, seed=1)
    low, high = np.quantile(draws.core_seconds, [0.025, 0.975])
    assert high / low > 1e3, "k is uncertain over three decades"


def test_the_file_of_training_alone_prices_nothing_else() -> None:
    costs = read_costs(COSTS / "training.toml")
    at = prices(costs)
    assert at.made == at.kept == at.served_flop == at.core_seconds == 0.0
    # An H100 at 42 % of 989 TFLOP/s and 2.8 USD an hour.
    assert at.flop == pytest.approx(2.8 / 3600.0 / (0.42 * 989e12))
    assert units_of(costs) == ("USD", "GPU-h", "FLOP", "kWh", "CHF", "EUR")


def test_prices_are_what_arithmetic_says(plain: Costs) -> None:
    at = prices(plain)
    assert at.flop == pytest.approx(2.0 / 3600.0 / 6e12)
    assert at.made == pytest.approx(0.02 / 3600.0)
    assert at.kept == pytest.approx(2e3 * 50.0 / 1e12 * 4.0)
    assert at.served_flop == pytest.approx(3e9 * 2.0 / 3600.0 / 12e12)
    # One simulated jet costs as much as 6e10 FLOP, at 1 core-s, 0.02 USD a core-hour, 2 USD a
    # GPU-hour and 6 TFLOP/s; a network of 2.1 M parameters trains on it once in 6.4e8 (6·N·50).
    assert at.made / at.flop == pytest.approx(6e10, rel=1e-9)


def test_cost_is_training_and_jets_and_serving(plain: Costs) -> None:
    at = prices(plain)
    parts = cost_parts(at, 2e6, unique_samples=1e7, epochs=3.0, flops_per_param_sample=300.0)
    assert parts.training == pytest.approx(300.0 * 2e6 * 3e7 * at.flop)
    assert parts.simulation == pytest.approx(1e7 * 0.02 / 3600.0)
    assert parts.storage == pytest.approx(1e7 * 4e-7)
    # Serving is one forward pass a jet, 2·N·T FLOP: a third of training on it.
    assert parts.inference == pytest.approx(100.0 * 2e6 * 3e9 / 12e12 * 2.0 / 3600.0)
    assert parts.total == pytest.approx(
        parts.training + parts.simulation + parts.storage + parts.inference
    )


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("100 USD", 100.0),
        ("100 EUR", 125.0),
        ("3 GPU-h", 6.0),
        ("5 days on 8 GPUs", 960.0 * 2.0),
        ("1e18 FLOP", 1e18 / 6e12 / 3600.0 * 2.0),
        ("1e18", 1e18 / 6e12 / 3600.0 * 2.0),
        ("50 core-h", 1.0),
        ("500 HS23-h", 1.0),
        # 500 W at an overhead of 1.5 are 0.75 kWh a GPU-hour.
        ("0.75 kWh", 2.0),
    ],
)
def test_a_budget_is_worth_the_same_in_any_unit(plain: Costs, text: str, money: float) -> None:
    assert worth(plain, parse_amount(text), text=text) == pytest.approx(money)


def test_every_unit_and_back(plain: Costs) -> None:
    assert set(units_of(plain)) == {"USD", "GPU-h", "FLOP", "kWh", "core-h", "HS23-h", "EUR"}
    for unit in units_of(plain):
        amount = f"{in_unit(plain, 7.0, unit)!r} {unit}"
        assert worth(plain, parse_amount(amount), text=amount) == pytest.approx(7.0)


def test_a_cpu_core_is_counted_in_device_hours_and_never_in_those_of_a_gpu() -> None:
    costs = read_costs(COSTS / "cpu.toml")
    assert "device-h" in units_of(costs) and "GPU-h" not in units_of(costs)
    for text in ("500 device-h", "10 h on 50 devices", "500 core-h", "10 USD"):
        assert worth(costs, parse_amount(text), text=text) == pytest.approx(10.0)
    message = (
        "budget '5 GPU-h' cannot be priced by Delphes-like jets, one CPU core; give it in USD, "
        "device-h, FLOP, kWh, core-h, HS23-h, CHF, EUR, or as '5 days on 8 devices'"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        worth(costs, parse_amount("5 GPU-h"), text="5 GPU-h")


def test_a_gpu_may_be_called_a_device(plain: Costs) -> None:
    for text in ("3 GPU-h", "3 device-h"):
        assert worth(plain, parse_amount(text), text=text) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("unit", "price", "message"),
    [
        ("TPU", "2 USD/GPU-h", "device.unit is 'TPU'; give 'GPU', or 'device' for a CPU core or"),
        ("GPU", "2 USD/core-h", "'2 USD/core-h' is not by the GPU; set device.unit = 'device'"),
        ("device", "2 USD/GPU-h", "is not by the device; set device.unit = 'GPU', or the price"),
    ],
)
def test_the_unit_of_a_device_is_that_of_its_price(
    tmp_path: Path, unit: str, price: str, message: str
) -> None:
    given = f'unit = "{unit}"\nprice = "{price}"'
    with pytest.raises(ValueError, match=re.escape(message)):
        read_costs(written(tmp_path, ('price = "2 USD/GPU-h"', given)))


def test_energy_pays_where_there_is_no_rent(tmp_path: Path) -> None:
    costs = read_costs(written(tmp_path, ('price = "2 USD/GPU-h"\n', "")))
    assert prices(costs).flop == pytest.approx(0.5 * 1.5 * 0.2 / 3600.0 / 6e12)


def test_a_price_in_another_currency_is_exchanged(tmp_path: Path) -> None:
    costs = read_costs(written(tmp_path, ("2 USD/GPU-h", "2 EUR/GPU-h")))
    assert prices(costs).flop == pytest.approx(2.5 / 3600.0 / 6e12)


def test_costs_in_another_currency_are_the_same_costs(plain: Costs) -> None:
    euros = in_currency(plain, "EUR", text="7 EUR")
    assert euros.currency == "EUR" and set(units_of(euros)) == set(units_of(plain))
    for unit in units_of(plain):
        # A euro is 1.25 dollars.
        assert in_unit(euros, 4.0, unit) == pytest.approx(in_unit(plain, 5.0, unit))
    run = {"params": 1e6, "unique_samples": 1e6, "epochs": 2.0, "flops_per_param_sample": 60.0}
    dollars = cost_draws(plain, 50, **run, seed=0).total
    np.testing.assert_allclose(cost_draws(euros, 50, **run, seed=0).total, dollars / 1.25)
    back = in_currency(euros, "USD", text="7 USD")
    assert back.exchange == pytest.approx(plain.exchange)
    with pytest.raises(ValueError, match=r"'7 CHF': plain has no exchange rate of CHF; add exch"):
        in_currency(plain, "CHF", text="7 CHF")


def test_time_of_simulation_may_be_in_hs23_seconds(tmp_path: Path) -> None:
    costs = read_costs(written(tmp_path, ("1 core-s/jet", "20 HS23-s/jet")))
    assert prices(costs).core_seconds == pytest.approx(2.0)


def test_a_file_overrides_its_base(tmp_path: Path) -> None:
    base = written(tmp_path)
    over = tmp_path / "over.toml"
    over.write_text(f'base = "{base.name}"\n[simulation]\ntime = "9 core-s/jet"\n')
    costs = read_costs(over)
    assert prices(costs).core_seconds == 9.0
    assert prices(costs).flop == prices(read_costs(base)).flop
    over.write_text('base = "over.toml"\n')
    with pytest.raises(ValueError, match=r"base leads back to this file"):
        read_costs(over)


def test_spread_is_log_normal_with_the_stated_factor(tmp_path: Path) -> None:
    costs = read_costs(written(tmp_path, ("1 core-s/jet", "1 core-s/jet x/ 6")))
    low, middle, high = np.quantile(
        price_draws(costs, 40000, seed=0).core_seconds, [0.158655, 0.5, 0.841345]
    )
    assert middle == pytest.approx(1.0, rel=0.03)
    assert high == pytest.approx(6.0, rel=0.04)
    assert low == pytest.approx(1.0 / 6.0, rel=0.04)
    assert prices(costs).core_seconds == 1.0


def test_a_number_keeps_its_draws_when_another_gains_a_spread(tmp_path: Path) -> None:
    wide = ("1 core-s/jet", "1 core-s/jet x/ 6")
    one = price_draws(read_costs(written(tmp_path, wide)), 9, seed=3)
    both = read_costs(written(tmp_path, wide, ("2 USD/GPU-h", "2 USD/GPU-h x/ 2")))
    two = price_draws(both, 9, seed=3)
    np.testing.assert_array_equal(one.core_seconds, two.core_seconds)
    assert np.std(two.flop) > 0.0


def test_cost_draws_have_a_row_a_draw(plain: Costs) -> None:
    drawn = cost_draws(
        plain,
        5,
        params=np.array([1e5, 1e6]),
        unique_samples=1e6,
        epochs=1.0,
        flops_per_param_sample=60.0,
        seed=0,
    )
    assert drawn.total.shape == (5, 2)
    assert drawn.training.shape == (5, 2)


def test_training_alone_costs_its_flop_and_nothing_else() -> None:
    parts = cost_parts(
        prices(training_alone()), 1e6, unique_samples=1e6, epochs=2.0, flops_per_param_sample=60.0
    )
    assert parts.training == parts.total == pytest.approx(1.2e14)
    message = (
        "budget '5 USD': only training FLOP are counted without a cost file; give --costs "
        "costs/training.toml for samples that exist already, costs/delphes.toml for jets to "
        "simulate, or a budget in FLOP"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        worth(training_alone(), parse_amount("5 USD"), text="5 USD")


def runs(**columns: object) -> pd.DataFrame:
    given = {"flops": [1e12, 2e12, 1e9], "wall_seconds": [10.0, 10.0, 1e5], "device": "cpu"}
    return pd.DataFrame(given | {"status": "ok"} | columns)


def test_measured_speed_is_that_of_the_dearest_runs(plain: Costs) -> None:
    costs = with_measured_speed(plain, runs(), source="runs")
    assert prices(costs).speed == pytest.approx(np.sqrt(1e11 * 2e11))
    assert costs.device.utilisation.spread == pytest.approx(np.log(2.0) / 2.0)
    assert costs.measured == "runs"


def test_speed_of_another_device_is_refused(plain: Costs) -> None:
    message = "runs: the runs were trained on tpu, and the cost file prices a device 'cpu'"
    with pytest.raises(ValueError, match=message):
        with_measured_speed(plain, runs(device="tpu"), source="runs")
    with pytest.raises(ValueError, match="no run has wall_seconds"):
        with_measured_speed(plain, runs(wall_seconds=np.nan), source="runs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "utilisation",
            "utilization",
            "unknown key 'device.utilization', did you mean 'device.uti",
        ),
        ("[storage]", "[storag]", "unknown key 'storag', did you mean 'storage'?"),
        ('"600 TFLOP/s"', '"600"', "device.peak = '600' has no unit; give it in FLOP/s"),
        ('"600 TFLOP/s"', "600", "device.peak = '600' has no unit; give it in FLOP/s"),
        ("600 TFLOP/s", "600 TFLOP", "device.peak = '600 TFLOP' measures something else"),
        ("2 USD/GPU-h", "-2 USD/GPU-h", "device.price = '-2 USD/GPU-h': it must be positive"),
        ("1 core-s/jet", "-1 core-s/jet", "simulation.time = '-1 core-s/jet': it must not be neg"),
        ('"1 %"', '"120 %"', "device.utilisation = '120 %': it must be at most 100%"),
        ('"1 %"', '"1 % x/ 0.5"', "the factor is 0.5; it must be above 1"),
        ("2 USD/GPU-h", "2 CHF/GPU-h", "add exchange.CHF = '… USD'"),
        ('EUR = "1.25 USD"', 'EUR = "1.25"', "exchange.EUR = '1.25' has no unit; give it in USD"),
        ('EUR = "1.25 USD"', 'GBP = "1.25 USD"', "unknown key 'exchange.GBP', did you mean"),
        ('"USD"', '"GBP"', "currency is 'GBP'; choose one of CHF, EUR, USD"),
        ('peak = "600 TFLOP/s"\n', "", "device.peak is missing, in FLOP/s"),
        ("1000", "0", "production.jets_per_file is 0; it must be a whole number of at least 1"),
        ("[production]", "[production", "not a TOML file that can be read"),
    ],
)
def test_a_fault_in_a_cost_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in refusal(written(tmp_path, (old, new)))


def test_all_faults_stand_in_one_message(tmp_path: Path) -> None:
    path = written(tmp_path, ("utilisation", "utilization"), ("600 TFLOP/s", "600"))
    with pytest.raises(ValueError, match=r"3 fault\(s\)"):
        read_costs(path)


MINE = """
currency = "USD"
[device]
name = "A100"
peak = "312 TFLOP/s"
utilization = "40 %"
serving = "40 %"
price = "1.5 USD/GPU-h"
"""


def test_a_misspelt_key_comes_first_and_missing_sections_have_one_remedy(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    message = (
        f"{path}: 3 fault(s): unknown key 'device.utilization', did you mean "
        "'device.utilisation'?; sections simulation, storage, inference and production are "
        "missing: base = 'training.toml' or 'delphes.toml' as the first line brings them; "
        "device.utilisation is missing, in %"
    )
    assert refusal(path) == message


def test_the_remedy_for_missing_sections_is_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for name in ("training.toml", "delphes.toml"):
        path.write_text(f"base = '{COSTS / name}'" + MINE.replace("utilization", "utilisation"))
        assert read_costs(path).device.peak.median == 312e12


def test_one_missing_section_is_named(tmp_path: Path) -> None:
    given = ('[storage]\nsize = "2 kB/jet"\nprice = "50 USD/TB/year"\nkept = "4 years"\n', "")
    message = (
        "1 fault(s): section storage is missing: base = 'training.toml' or 'delphes.toml' as the "
        "first line brings it"
    )
    assert refusal(written(tmp_path, given)).endswith(message)


def test_five_faults_are_shown_in_the_order_of_the_file_and_the_others_counted(
    tmp_path: Path,
) -> None:
    wrong = [('"600 TFLOP/s"', '""'), ("500 W", "W"), ("80 GB", "GB")]
    more = [("1 core-s/jet", "1"), ("2 kB/jet", "2"), ("kept", "keept")]
    path = written(tmp_path, *wrong, *more)
    message = (
        f"{path}: 7 fault(s): unknown key 'storage.keept', did you mean 'storage.kept'?; "
        "device.peak '': no number in front; write it like 1 FLOP/s; device.power 'W': no number "
        "in front; write it like 1 W; device.memory 'GB': no number in front; write it like 1 B; "
        "simulation.time = '1' has no unit; give it in core-s/jet or HS23-s/jet; and 2 more"
    )
    assert refusal(path) == message


def test_a_device_without_rent_and_power_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ('price = "2 USD/GPU-h"\n', ""), ('power = "500 W"\n', ""))
    with pytest.raises(ValueError, match=r"device has no price; give device.price, as '2.5 USD/G"):
        read_costs(path)


def test_a_missing_cost_file_points_at_the_example(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"costs/delphes.toml in isoflop's repository is an ex"
    ):
        read_costs(tmp_path / "none.toml")
    path = tmp_path / "mine.toml"
    path.write_text('base = "none.toml"')
    with pytest.raises(FileNotFoundError, match=r"none.toml, the base of mine.toml; costs/delphes"):
        read_costs(path)


def test_a_budget_that_cannot_be_priced_says_in_what_it_can(plain: Costs) -> None:
    with pytest.raises(
        ValueError, match=r"budget '3 TB' cannot be priced by plain; give it in USD"
    ):
        worth(plain, parse_amount("3 TB"), text="3 TB")
    with pytest.raises(ValueError, match=r"no exchange rate of CHF; add exchange.CHF = '… USD'"):
        worth(plain, parse_amount("3 CHF"), text="3 CHF")
