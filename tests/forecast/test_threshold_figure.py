"""The figure of the threshold draws every run and the band that it is given."""

import numpy as np
import pandas as pd

from isoflop.forecast.threshold_figure import threshold_figure


def test_every_run_stands_in_the_panel_of_its_group_with_its_label() -> None:
    runs = pd.DataFrame(
        {
            "group": ["a", "a", "a", "b"],
            "params": [1e4, 1e4, 1e5, 1e5],
            "unique_samples": [1e3, 1e3, 1e4, 1e4],
            "label": ["undecided", "overfitting", "underfitting", "underfitting"],
        }
    )
    band = pd.DataFrame({"group": ["a", "a", "b", "b"], "unique_samples": [1e3, 1e4] * 2})
    for name, factor in (("low_95", 0.2), ("low_68", 0.5), ("median", 1), ("high_68", 2)):
        band[name] = factor * band["unique_samples"]
    figure = threshold_figure(runs, band.assign(high_95=5 * band["unique_samples"]))
    left, right = figure.axes
    places = {str(dots.get_label()): np.asarray(dots.get_offsets()) for dots in left.collections}
    np.testing.assert_allclose(places["overfitting"], [[1e3, 1e4]])
    assert places["undecided"][0][0] > 1e3  # beside the other, not under it
    np.testing.assert_allclose(places["underfitting"], [[1e4, 1e5]])
    assert list(np.asarray(left.lines[0].get_ydata())) == [1e3, 1e4]
    drawn = {
        str(dots.get_label()): len(np.asarray(dots.get_offsets())) for dots in right.collections
    }
    assert (drawn["overfitting"], drawn["underfitting"]) == (0, 1)
    assert [text.get_text() for text in figure.legends[0].get_texts()].count("overfitting") == 1
