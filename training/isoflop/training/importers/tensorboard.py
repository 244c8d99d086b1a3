"""Runs from TensorBoard event files: scalars over steps, and hyperparameters.

A run is a folder with event files; folders below it, as `add_hparams` and `add_scalars` make them,
belong to it. `step` is the number that was given to the writer. Scalars of a run that was restarted
are joined; where two were logged at one step the later one counts.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from isoflop.training.importers.logs import LoggedRun

EVENTS = "*events.out.tfevents.*"
STEP = "step"
HPARAMS = "_hparams_/session_start_info"


def read_tensorboard(folder: str | Path) -> list[LoggedRun]:
    """The runs below a folder, named by their path within it, in the order of the names."""
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError as error:
        raise ImportError(
            f"{folder} needs tensorboard to be read; pip install 'isoflop[importers]'"
        ) from error
    top = Path(folder)
    runs = []
    for run, folders in itertools.groupby(_event_folders(top), key=lambda pair: pair[0]):
        parts = []
        for _, part in folders:
            parts.append(event_accumulator.EventAccumulator(str(part), {"scalars": 0}))
            parts[-1].Reload()
        runs.append(_run(run.relative_to(top).as_posix(), parts))
    return runs


def _event_folders(top: Path) -> Iterator[tuple[Path, Path]]:
    """Every folder with event files, after the topmost one above it that has some: its run."""
    seen: list[Path] = []
    for folder in sorted({file.parent for file in top.rglob(EVENTS)}):
        owner = next((run for run in seen if folder.is_relative_to(run)), folder)
        seen += [owner] if owner is folder else []
        yield owner, folder


def _run(name: str, parts: list[Any]) -> LoggedRun:
    """One run from what its event files hold."""
    constants: dict[str, Any] = {}
    points: dict[str, dict[int, float]] = {}
    for part in parts:
        constants |= _hparams(part)
        for tag in part.Tags()["scalars"]:
            logged = {event.step: float(event.value) for event in part.Scalars(tag)}
            points[tag] = points.get(tag, {}) | logged
    curves = {tag: pd.Series(values).sort_index() for tag, values in points.items()}
    steps = sorted({step for values in points.values() for step in values})
    curves[STEP] = pd.Series([float(step) for step in steps], index=steps)
    return LoggedRun(name, constants, curves)


def _hparams(part: Any) -> dict[str, Any]:
    """Hyperparameters that `SummaryWriter.add_hparams` wrote, by name."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    if HPARAMS not in part.summary_metadata:
        return {}
    content = part.summary_metadata[HPARAMS].plugin_data.content
    given = HParamsPluginData.FromString(content).session_start_info.hparams
    return {str(name): getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
