"""Steps on a GPU: recorded, they are those of the plain loop; and which batches they leave out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoflop.training.config import RunConfig
from isoflop.training.feeding import feed
from isoflop.training.jets.batches import Splits, open_set
from isoflop.training.models import Transformer
from isoflop.training.stepping import RecordedStepper, Stepper, adamw, stepper

RUN = RunConfig(features="full", particles=20, width=32, batch_size=50, unique_samples=400)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_on_a_cpu_each_loss_is_there_at_once(splits: Splits) -> None:
    jets, rows = open_set(splits.train, "full", 20), np.arange(100)
    torch.manual_seed(0)
    model = Transformer(RUN.network)
    step = stepper(RUN, model, adamw(model, 0.01, weight_decay=0.0), jets, rows)
    assert step.room is None
    found = []
    for batch, parts in feed(jets, [rows] * 3, torch.device("cpu"), step.room):
        step(parts, len(batch), 0.01)
        found += step.losses(settled=False)
    assert found[0] == pytest.approx(np.log(10)) and found[2] < found[0]
    assert step.losses() == []


# Torch's compiler, as it is imported, uses what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
@needs_cuda
@pytest.mark.parametrize(("width", "compiled"), [(4, False), (32, False), (32, True)])
def test_recorded_steps_have_the_losses_of_plain_ones_to_bfloat16(
    splits: Splits, width: int, compiled: bool
) -> None:
    jets = open_set(splits.train, "full", 20)
    device, rows = torch.device("cuda"), np.arange(len(splits.train))
    generator = np.random.default_rng(0)
    batches = [generator.choice(rows, 50 if i % 7 else 20) for i in range(40)]
    losses = []
    for record in (False, True):
        torch.manual_seed(0)
        model = Transformer(replace(RUN, width=width).network).to(device)
        optimizer = adamw(model, 0.003, weight_decay=0.01)
        step = Stepper(model, optimizer)
        if record:
            room = jets.room(rows, 50)
            step = RecordedStepper(model, optimizer, jets=50, room=room, compiled=compiled)
        found = []
        for batch, parts in feed(jets, batches, device, step.room):
            step(parts, len(batch), 0.003)
            found += step.losses(settled=False)
        losses.append(found + step.losses())
    np.testing.assert_allclose(losses[1], losses[0], atol=0.01)
