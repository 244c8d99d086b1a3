import pytest

from isoflop.forecast.units import Amount, measures_of, parse_amount, require_amount


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("5 days on 8 GPUs", "960 GPU-h"),
        ("2 h on 16 cores", "115200 core-s"),
        ("3 days on 2 devices", "144 device-h"),
        ("3 kWh", "10.8 MJ"),
        ("989 TFLOP/s", "9.89e14 FLOP/s"),
        ("50 USD/TB/year", "0.05 USD/GB/year"),
        ("1.7 kB/jet", "1700 B/jet"),
        ("2 %", "0.02"),
        ("1 week", "7 days"),
        ("10 HS06/core", "10 HS23/core"),
        ("36 HS23-s", "0.01 HS23-h"),
        ("700 W", "700 J/s"),
    ],
)
def test_two_ways_to_write_an_amount_are_one(text: str, other: str) -> None:
    one, same = parse_amount(text), parse_amount(other)
    assert one.measures == same.measures
    assert one.value == pytest.approx(same.value, rel=1e-12)


def test_a_rate_times_a_time_measures_what_is_left() -> None:
    assert measures_of("USD/GPU-h") == (("GPU", -1), ("USD", 1), ("s", -1))
    assert measures_of("core-s/jet") == (("core", 1), ("jet", -1), ("s", 1))
    assert measures_of("jet/jet") == ()
    assert parse_amount("2 USD/GPU-h").value == pytest.approx(2.0 / 3600.0)


def test_amounts_of_different_kinds_do_not_pass_for_each_other() -> None:
    time = (("GPU-h", "core-h"), ("GPU-h", "device-h"), ("device-h", "core-h"))
    for unit, other in (*time, ("USD", "EUR"), ("HS23-s", "core-s"), ("W", "J")):
        assert measures_of(unit) != measures_of(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7 parsec", "amount '7 parsec': unknown unit 'parsec'; known are FLOP"),
        ("much", "amount 'much': no number in front; write it like 5 GPU-h"),
        ("3 XFLOP", "unknown unit 'XFLOP'"),
        ("3 kjet", "unknown unit 'kjet'"),
        ("3 usd", "unknown unit 'usd'; did you mean USD? known are FLOP"),
    ],
)
def test_an_unknown_unit_is_named_with_those_known(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_amount(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "price = '3' has no unit; give it in USD/GPU-h"),
        ("3 USD/core-h", "price = '3 USD/core-h' measures something else; give it in USD/GPU-h"),
        ("-3 USD/GPU-h", "price = '-3 USD/GPU-h': it must be positive and finite"),
        ("0 USD/GPU-h", "it must be positive and finite"),
        ("inf USD/GPU-h", "it must be positive and finite"),
    ],
)
def test_an_amount_must_measure_what_is_asked_for(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        require_amount(parse_amount(text), ["USD/GPU-h"], thing="price", text=text)
    assert message in str(caught.value)


def test_zero_passes_where_it_is_allowed() -> None:
    assert require_amount(Amount(0.0, ()), [""], thing="x", text="0", zero=True) == 0.0
