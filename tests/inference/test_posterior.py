"""The posterior file: round trip, readers of others, and what is refused."""

from pathlib import Path

import arviz_base as azb
import numpy as np
import pytest
import xarray as xr

from isoflop.inference import posterior as contract

pytestmark = pytest.mark.slow  # a session fixture samples


def test_round_trip_keeps_draws_units_and_origin(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    contract.save(posterior, path)
    again = contract.load(path)
    before, after = posterior["posterior"].to_dataset(), again["posterior"].to_dataset()
    xr.testing.assert_identical(before, after)
    assert after["loss_inf"].attrs["units"] == "nat"
    assert again.attrs["schema"] == "isoflop.posterior/2"
    assert again.attrs["law"] == "additive"


def test_xarray_and_arviz_read_the_file(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    contract.save(posterior, path)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert tree["posterior/alpha"].dims == ("chain", "draw", "group")
    draws = azb.extract(xr.open_datatree(path), var_names="alpha")
    assert draws.sizes["sample"] == 4 * 300


def test_another_schema_version_is_refused(posterior: xr.DataTree, tmp_path: Path) -> None:
    other = posterior.copy(deep=True)
    other.attrs["schema"] = "isoflop.posterior/9"
    path = tmp_path / "posterior.nc"
    other.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match="schema") as caught:
        contract.load(path)
    assert str(caught.value) == (
        f"{path}: schema is 'isoflop.posterior/9', this version reads 'isoflop.posterior/2'; "
        "fit the runs again"
    )


def test_every_broken_part_is_named(posterior: xr.DataTree) -> None:
    other = posterior.copy(deep=True)
    draws = other["posterior"].to_dataset().drop_vars("alpha")
    draws["beta"] = draws["beta"].isel(group=0)
    draws["sigma"] = draws["sigma"] * np.nan
    other["posterior"] = xr.DataTree(draws)
    with pytest.raises(ValueError, match=r"3 fault\(s\): posterior has no alpha; beta has dims"):
        contract.check(other)


def test_a_tree_without_its_groups_is_refused(posterior: xr.DataTree) -> None:
    other = posterior.copy(deep=True)
    del other["log_likelihood"], other["constant_data"]
    with pytest.raises(
        ValueError, match=r"missing group\(s\) log_likelihood, constant_data; fit the runs"
    ):
        contract.check(other)


def test_files_that_are_no_posterior_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no posterior at .*make one with `isoflop fit`"):
        contract.load(tmp_path / "none.nc")
    text = tmp_path / "text.nc"
    text.write_text("no NetCDF")
    with pytest.raises(ValueError, match=r"text.nc: not a NetCDF file that can be read"):
        contract.load(text)


def test_a_truncated_file_is_named(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    contract.save(posterior, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"posterior.nc: not a NetCDF file that can be read"):
        contract.load(path)
