"""`isoflop import`: run records from what another tool logged."""

import json
from pathlib import Path
from typing import Annotated

import typer

from isoflop.commands.options import Json, Quiet, renames, write_text, written
from isoflop.terminal import note


def bring(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="W&B export (.csv) or folder of logs.")
    ],
    out: Annotated[
        Path, written("-o", "--out", suffixes=(".csv",), help="Records to write (.csv).")
    ],
    params: Annotated[str, typer.Option(metavar="COLUMN", help="N.")],
    samples: Annotated[
        str, typer.Option(metavar="COLUMN", help="D; steps taken, with --batch-size.")
    ],
    loss: Annotated[str, typer.Option(metavar="COLUMN", help="Validation loss [nat].")],
    loss_kind: Annotated[
        str, typer.Option(help="final, the last one logged, or best, the lowest.")
    ],
    batch_size: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Samples a step: a number or a column.")
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option("--map", help="Another column, as group=dataset.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--from", help="wandb, lightning or tensorboard; else by files.")
    ] = None,
    json_out: Json = "",
    quiet: Quiet = False,
) -> None:
    """Make run records from W&B, Lightning or TensorBoard logs.

    Every column is named by you; what is not there is said, with what is.

    Example: isoflop import logs/ -o runs.csv --params n_params --samples step --batch-size 512
    --loss val_loss --loss-kind best
    """
    from isoflop.files import writing
    from isoflop.training.importers.logs import Columns
    from isoflop.training.importers.sources import import_runs

    columns = Columns(
        params=params,
        samples=samples,
        loss=loss,
        loss_kind=loss_kind,
        batch_size=batch_size,
        others=renames(rename or []),
    )
    imported = import_runs(source, columns, form=form)
    with writing(out) as temporary:
        imported.records.dropna(axis="columns", how="all").to_csv(temporary, index=False)
    status = imported.records["status"]
    content = {
        "out": str(out),
        "format": imported.form,
        "runs": len(status),
        "diverged": int((status == "diverged").sum()),
        "left_out": list(imported.left_out),
    }
    write_text(json.dumps(content) + "\n", json_out)
    if quiet:
        return
    note(f"{len(status)} runs in {out}, {content['diverged']} of them diverged")
    if imported.left_out:
        few = ", ".join(imported.left_out[:3]) + (", …" if len(imported.left_out) > 3 else "")
        note(f"{len(imported.left_out)} run(s) that did not finish are left out: {few}")
