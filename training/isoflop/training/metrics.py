"""What a trained network is worth: loss with its error, accuracy, counts of jets above cuts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isoflop.training.jets.jetclass import CLASSES
from isoflop.training.records import WorkingPoint

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

# JetClass convention (arXiv:2202.03772): 50 %, tighter classes at higher efficiency.
EFFICIENCY = {"Hqql": 0.99, "Tbl": 0.995}
_USUAL_EFFICIENCY = 0.5
REJECTIONS = (100.0,)


@dataclass(frozen=True)
class Metrics:
    """Quality on a set of jets."""

    loss: float
    """Mean cross-entropy [nat]."""
    loss_stderr: float
    """Its standard error from the spread over jets [nat]."""
    accuracy: float
    """Share of jets whose most likely class is the true one."""


def log_probabilities(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Log of the class probabilities, shape (jets, classes), in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # type: ignore[no-any-return]


def evaluate(logits: FloatArray, label: IntArray) -> Metrics:
    """Loss, error and accuracy from logits, shape (jets, classes), and labels, shape (jets,)."""
    loss = -log_probabilities(logits)[np.arange(len(label)), label]
    return Metrics(
        loss=float(loss.mean()),
        loss_stderr=float(loss.std(ddof=1) / np.sqrt(len(loss))),
        accuracy=float((logits.argmax(axis=1) == label).mean()),
    )


def working_points(
    logits: FloatArray,
    label: IntArray,
    *,
    run_id: str,
    efficiencies: Sequence[float] = (),
    rejections: Sequence[float] = REJECTIONS,
) -> list[WorkingPoint]:
    """Signal and QCD jets above cuts, for each signal class with jets in it.

    Cuts keep the signal efficiency of the convention and the `efficiencies` given besides, or one
    QCD jet in each of `rejections`. The discriminant of signal s is p_s / (p_s + p_QCD); it rises
    with log p_s - log p_QCD, which is cut on because it does not saturate.
    """
    log_p = log_probabilities(logits)
    rows = []
    for index, signal in enumerate(CLASSES[1:], start=1):
        score = log_p[:, index] - log_p[:, 0]
        in_signal, background = score[label == index], score[label == 0]
        if not (len(in_signal) and len(background)):
            continue
        shares = dict.fromkeys((EFFICIENCY.get(signal, _USUAL_EFFICIENCY), *efficiencies))
        for share, factor in (*((s, None) for s in shares), *((None, x) for x in rejections)):
            cut = _cut(in_signal, background, share, factor)
            passed = int((in_signal >= cut).sum())
            rows.append(
                WorkingPoint(
                    run_id=run_id,
                    signal=signal,
                    efficiency=share or passed / len(in_signal),
                    n_signal=len(in_signal),
                    n_background=len(background),
                    n_background_passed=int((background >= cut).sum()),
                    n_signal_passed=passed,
                    rejection=factor,
                )
            )
    return rows


def _cut(
    signal: FloatArray, background: FloatArray, share: float | None, rejection: float | None
) -> float:
    """The cut that keeps a share of the signal, or else one background jet in `rejection`."""
    if share is not None:
        return efficiency_cut(signal, share)
    assert rejection is not None
    return efficiency_cut(background, 1 / rejection)


def efficiency_cut(score: FloatArray, efficiency: float) -> float:
    """The highest cut that at least a share `efficiency` of the scores reach."""
    kept = int(np.ceil(efficiency * len(score) - 1e-9))  # 0.995 * 1000 must stay 995
    return float(np.sort(score)[len(score) - kept])
