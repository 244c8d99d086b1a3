"""Make the logs that the tests of the importers read: three small networks, really trained.

    pip install lightning tensorboard    # 2.6.6 and 2.21.0 wrote the files here
    python tests/training/logs/make.py tests/training/logs

Lightning's `CSVLogger` and the `SummaryWriter` of torch write them. Nothing of W&B runs offline up
to the export, so `wandb.csv` has the columns of a runs table and the losses of these runs.
"""

# mypy: ignore-errors
# Lightning is no dependency of the project.

import csv
import shutil
import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

BATCH, EPOCHS = 32, 3
RUNS = ((2, 256), (4, 512), (8, 1024))
"""Width and distinct samples of each run."""


class Net(LightningModule):
    """Three classes of four numbers."""

    def __init__(self, width: int, batch_size: int, unique_samples: int, n_params: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        layers = torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 3)
        self.net = torch.nn.Sequential(*layers)
        self.validation: list[float] = []

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val_loss", cross_entropy(self.net(batch[0]), batch[1]))

    def on_validation_epoch_end(self) -> None:
        self.validation.append(float(self.trainer.callback_metrics["val_loss"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-2)


def main(out: Path) -> None:
    """Train the runs and write all three kinds of logs."""
    for name in ("lightning", "tensorboard"):
        shutil.rmtree(out / name, ignore_errors=True)
    random = torch.Generator().manual_seed(1)
    x = torch.randn(2048, 4, generator=random)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0.3).long() + (x[:, 3] > 1).long()
    rows = []
    for width, unique in RUNS:
        seed_everything(1, verbose=False)
        net = Net(width, BATCH, unique, 8 * width + 3)
        trainer = Trainer(
            max_epochs=EPOCHS,
            num_sanity_val_steps=0,
            logger=CSVLogger(out, name="lightning"),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
            log_every_n_steps=8,
        )
        train = DataLoader(TensorDataset(x[:unique], y[:unique]), BATCH, shuffle=True)
        trainer.fit(net, train, DataLoader(TensorDataset(x[1024:], y[1024:]), 256))
        to_tensorboard(out / "tensorboard" / f"width-{width}", net)
        rows.append((width, unique, net.validation[-1]))
    to_wandb(out / "wandb.csv", rows)


def to_tensorboard(folder: Path, net: Net) -> None:
    """The validation losses over samples seen, and the settings as `add_hparams` writes them."""
    with SummaryWriter(str(folder)) as writer:
        for epoch, loss in enumerate(net.validation, start=1):
            writer.add_scalar("loss/val", loss, epoch * net.hparams["unique_samples"])
        writer.add_hparams(dict(net.hparams), {"hparam/loss": net.validation[-1]}, run_name="hp")
    for number, file in enumerate(sorted(folder.rglob("events.*"))):
        file.rename(file.with_name(f"events.out.tfevents.1.toy.{number}"))  # no date, no host


def to_wandb(path: Path, rows: list[tuple[int, int, float]]) -> None:
    """The runs as a table of W&B: a run that crashed beside them, one that went to NaN."""
    names = ["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep"]
    keys = ["batch_size", "dataset", "model.n_params", "_step", "val/loss"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names + keys)
        lines = [(f"run-{width}", "finished", width, n, loss) for width, n, loss in rows]
        lines += [("run-16", "crashed", 16, 512, 0.9), ("run-32", "finished", 32, 512, "NaN")]
        for name, state, width, unique, loss in lines:
            steps = EPOCHS * unique // BATCH
            meta = [name, state, "", "someone", "", "2026-01-01T00:00:00.000Z", "61", ""]
            writer.writerow([*meta, BATCH, "toy", 8 * width + 3, steps, loss])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
