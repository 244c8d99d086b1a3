"""Train one network on jets: `train(config, data)` returns a typed record of the run."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from isoflop.training import ranks
from isoflop.training.checkpoint import (
    LoopState,
    generator_at,
    load_checkpoint,
    load_trunk,
    save_checkpoint,
    trunk_file,
)
from isoflop.training.config import RunConfig
from isoflop.training.counting import count_parameters, law_flops, training_flops
from isoflop.training.feeding import EVALUATION_BATCH, cut, feed, part_of
from isoflop.training.jets.batches import (
    IntArray,
    JetSet,
    Splits,
    balanced_subset,
    open_set,
    shuffled_batches,
)
from isoflop.training.metrics import evaluate, working_points
from isoflop.training.models import Transformer
from isoflop.training.records import CurvePoint, RunRecord, WorkingPoint
from isoflop.training.stepping import adamw, logits, stepper

# A run over repeated data overfits when its last validation loss is this much above its best.
OVERFITTING_MARGIN = 0.01
CURVE_POINTS = 16  # of a one-epoch run; a run over repeated data has one an epoch
_EXAMPLES = 2_000  # training jets that set the scale of the inputs


@dataclass(frozen=True)
class TrainResult:
    """What one run leaves behind."""

    record: RunRecord
    """The run in one row."""
    working_points: tuple[WorkingPoint, ...]
    """Background counts at fixed signal efficiency; none for a diverged run."""
    curve: tuple[CurvePoint, ...]
    """The loss along the training."""


def train(
    config: RunConfig,
    data: Splits,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    save_every: float = 60.0,
    trunks: Path | None = None,
) -> TrainResult:
    """Train the network of `config` on `data` and measure it on the validation jets.

    One epoch: the last weights count. Repeated data: after each epoch the loss on the stopping jets
    is measured, the best weights are kept, and `patience` epochs without a new best end the run;
    `samples` of the record is what the kept weights have seen. The recorded loss is measured on
    other jets than those that chose the weights. A loss that is not finite ends the run as
    diverged; a run that never beat guessing is called so too. The same configuration gives the same
    numbers on one CPU thread, and so does a run that was killed and goes on from its `checkpoint`,
    a file that is written every `save_every` seconds and left to the caller to remove. So does a
    branch that begins on what another run with its trunk left in the folder `trunks`.
    """
    started = time.perf_counter()
    place = pick_device(device)

    # The data. Jets that judge are the same for all runs of a study, so their draw has no seed.
    training_set = open_set(data.train, config.features, config.particles)
    validation_set = open_set(data.validation, config.features, config.particles)
    unique = balanced_subset(data.train.label, config.trunk.unique_samples, seed=config.seed)
    stopping, judges = judging_rows(config, data)
    judging_set = validation_set
    if config.test_samples:
        assert data.test is not None
        judging_set = open_set(data.test, config.features, config.particles)

    # The network and its optimiser.
    torch.manual_seed(config.seed)
    model = Transformer(config.network)
    examples = training_set.batch(unique[:_EXAMPLES])
    model.standardise(torch.from_numpy(examples.x[examples.mask]).float())
    model.to(place)
    optimizer = adamw(model, config.rate, weight_decay=config.weight_decay)

    # The state of the loop, or where an earlier call left it.
    state, kept, diverged = LoopState(), _weights(model), False
    state.order = np.random.default_rng(config.seed).bit_generator.state
    found = load_checkpoint(checkpoint, config.run_id, model, optimizer) if checkpoint else None
    if not found and trunks and config.trunk_samples:
        found = load_trunk(trunks, config, model, optimizer)
    if found:
        state, kept = found
    if not ranks.is_first():
        checkpoint = trunks = None  # one process writes
    saved = time.perf_counter()
    step = stepper(config, model, optimizer, training_set, unique)
    marks = {round(config.steps * part / CURVE_POINTS) for part in range(1, CURVE_POINTS + 1)}

    # The loop.
    while state.epoch < config.epochs and state.waited < config.patience:
        model.train()
        generator = generator_at(state.order)
        batches = list(
            shuffled_batches(unique, config.batch, generator, most=config.unique_samples)
        )
        for rows, parts in feed(training_set, batches[state.batch :], place, step.room):
            step(parts, len(rows), config.rate * schedule(state.step, config))
            state.step, state.seen = state.step + 1, state.seen + len(rows)
            state.batch += 1
            marked = config.epochs == 1 and state.step in marks
            trunk = bool(trunks and config.trunk_samples) and state.step == config.branch_step
            saving = checkpoint is not None and time.perf_counter() - saved >= save_every
            last = state.batch == len(batches)
            new = step.losses(settled=marked or trunk or saving or last)
            diverged = not all(map(math.isfinite, new))
            if diverged:
                break
            state.losses += new
            if marked:
                state.curve.append(_point(config, state, None))
            if trunks and trunk:
                path = trunk_file(trunks, config, state.step)
                save_checkpoint(path, config.trunk.run_id, state, model, optimizer, {})
            if checkpoint and saving:
                saved = time.perf_counter()
                elapsed = replace(state, seconds=state.seconds + saved - started)
                save_checkpoint(checkpoint, config.run_id, elapsed, model, optimizer, kept)
        if config.epochs > 1 and not diverged:
            state.last_loss = evaluate(*predict(model, validation_set, stopping, device=place)).loss
            diverged = not math.isfinite(state.last_loss)
            state.curve.append(_point(config, state, state.last_loss))
            better = state.last_loss < state.best_loss
            state.waited = 0 if better else state.waited + 1
            if better:
                kept, state.kept_seen = _weights(model), state.seen
                state.best_loss = state.last_loss
        if diverged:
            break
        state.epoch, state.batch, state.order = state.epoch + 1, 0, generator.bit_generator.state

    # The verdict and the record.
    seen = state.seen
    if config.epochs > 1 and not diverged:
        model.load_state_dict(kept)
        seen = state.kept_seen
    scores, truth = predict(model, judging_set, judges, device=place)
    measured = evaluate(scores, truth)
    diverged = diverged or not math.isfinite(measured.loss)
    diverged = diverged or never_beat_guessing(state.curve, measured.loss, config.network.classes)
    overfits = state.last_loss > (1 + OVERFITTING_MARGIN) * state.best_loss
    params, tokens = count_parameters(config.network).total, training_set.mean_particles(unique)
    record = RunRecord(
        run_id=config.run_id,
        group=config.group,
        study=config.study,
        params=params,
        samples=seen,
        unique_samples=min(config.unique_samples, seen),
        flops=law_flops(params, tokens, seen),
        flops_counted=training_flops(config.network, tokens, seen),
        flops_convention="6NDT",
        flops_spent=law_flops(params, tokens, state.seen - state.branched),
        loss=None if diverged else measured.loss,
        loss_stderr=None if diverged else measured.loss_stderr,
        loss_kind="final" if config.epochs == 1 else "early_stopped",
        status="diverged" if diverged else "overfitting" if overfits else "ok",
        accuracy=None if diverged else measured.accuracy,
        params_total=params,
        params_convention="all trainable",
        tokens_per_sample=tokens,
        seed=config.seed,
        features=config.features,
        particles=config.particles,
        architecture=config.architecture,
        dataset=config.dataset,
        learning_rate=config.rate,
        batch_size=config.batch,
        tuning=config.tuning,
        schedule=config.schedule,
        wall_seconds=state.seconds + time.perf_counter() - started,
        device=place.type,
        commit=f"isoflop {version('isoflop')}",
    )
    cuts = {"efficiencies": config.efficiencies, "rejections": config.rejections}
    points = [] if diverged else working_points(scores, truth, run_id=config.run_id, **cuts)
    return TrainResult(record, tuple(points), tuple(state.curve))


def never_beat_guessing(curve: Sequence[CurvePoint], loss: float, classes: int) -> bool:
    """Whether every loss of a run, along its curve and at its end, is above log(classes) [nat].

    The network starts at log(classes). A small run that has learned next to nothing stays near it
    on both sides; one whose steps are too long is above it from first to last.
    """
    along = (value for point in curve for value in (point.train_loss, point.loss))
    return all(value > math.log(classes) for value in (loss, *along) if value is not None)


def judging_rows(config: RunConfig, data: Splits) -> tuple[IntArray, IntArray]:
    """Jets that choose the checkpoint, from the validation set, and jets that give the loss.

    The latter are other validation jets, or test jets where `config` asks for them. `ValueError`
    where there are too few.
    """
    stopping, validation, test = (
        config.stopping_samples,
        config.validation_samples,
        config.test_samples,
    )
    if test:
        if data.test is None:
            raise ValueError(f"test_samples is {test} and no test jets were opened")
        return (
            balanced_subset(data.validation.label, stopping, seed=0),
            balanced_subset(data.test.label, test, seed=0),
        )
    chosen = balanced_subset(data.validation.label, stopping + validation, seed=0)
    return chosen[:stopping], chosen[stopping:]


def schedule(step: int, config: RunConfig) -> float:
    """Share of the peak rate at a step, counted from 0: linear up, constant, linearly to zero."""
    if step < config.rising:
        return (step + 1) / (math.floor(config.rising) + 1)
    return min(1.0, (config.steps - step) / config.falling)


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} asked for, torch sees no CUDA device; use --device cpu")
    return torch.device(name)


def predict(
    model: Transformer, jets: JetSet, rows: IntArray, *, device: torch.device
) -> tuple[npt.NDArray[np.float32], IntArray]:
    """Logits of the given jets, shape (jets, classes), and their labels, shape (jets,)."""
    model.eval()
    scores = np.zeros((len(rows), model.config.classes), np.float32)
    own = ranks.own_share(len(rows))
    with torch.inference_mode():
        for places in cut(jets, rows[own], EVALUATION_BATCH, device):
            part = part_of(jets, rows[own[places]], device).to(device)
            scores[own[places]] = logits(model, part).cpu().numpy()
    return ranks.sum_rows(scores, device), jets.jets.label[rows].astype(np.int64)


def _weights(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _point(config: RunConfig, state: LoopState, loss: float | None) -> CurvePoint:
    """A point of the curve; empties the list of training losses since the last one."""
    mean = float(np.mean(state.losses)) if state.losses else None
    state.losses.clear()
    return CurvePoint(run_id=config.run_id, samples=state.seen, train_loss=mean, loss=loss)
