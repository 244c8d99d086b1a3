"""Batch size and peak learning rate by rule, one for each width and number of steps.

One rate for all runs of a grid biases the exponents of the law. The constants below were fitted to
107 one-epoch runs on this project's jets (`full`, 10 particles, depth 2, mostly two seeds, a ladder
of rates a factor 2 apart), by the parabola through the losses around the lowest one:

| width | jets | batch | steps | lowest loss [nat] | best rate | rule |
|---|---|---|---|---|---|---|
| 8 | 1k | 16 | 63 | 1.972 | 0.0159 | 0.0132 |
| 8 | 4k | 32 | 125 | 1.771 | 0.0123 | 0.0175 |
| 8 | 16k | 64 | 250 | 1.418 | 0.0278 | 0.0233 |
| 8 | 64k | 128 | 500 | 1.186 | 0.032 or above | 0.0311 |
| 32 | 1k | 16 | 63 | 1.998 | 0.0048 | 0.0044 |
| 32 | 4k | 32 | 125 | 1.638 | 0.0045 | 0.0059 |
| 32 | 16k | 64 | 250 | 1.267 | 0.0079 | 0.0078 |
| 32 | 64k | 128 | 500 | 1.059 | 0.0115 | 0.0104 |
| 128 | 1k | 16 | 63 | 1.831 | 0.0018 | 0.0015 |
| 128 | 4k | 32 | 125 | 1.476 | 0.0017 | 0.0020 |

40 runs made afterwards test it, seeds 0 and 1 of the small cells and one of the others:

| width | jets | batch | steps | lowest loss [nat] | best rate | rule |
|---|---|---|---|---|---|---|
| 64 | 1k | 16 | 63 | 1.875 | 0.0080 | 0.0026 |
| 64 | 4k | 32 | 125 | 1.544 | 0.0032 | 0.0034 |
| 64 | 16k | 64 | 250 | 1.206 | 0.0037 | 0.0045 |
| 64 | 64k | 128 | 500 | 1.026 | 0.0060 | 0.0060 |
| 128 | 16k | 64 | 250 | 1.186 | 0.0017 | 0.0026 |
| 128 | 64k | 128 | 500 | 1.011 | 0.0027 | 0.0035 |

At 64 × 1k the two seeds differ by more than the rates do; elsewhere the rule is within a factor 1.6
of the best, and a factor 2 beside the best costs 0.02 to 0.2 nat. All 147 runs together give
0.0075, −0.81 and 0.24 with a scatter of 35 %, too near to move the rule under trained runs. The
rate rises with the steps because the batch rises with them.

28 more test it at 1000 steps of 128 jets, where it is flat, and with 40 particles:

| width | jets | particles | lowest loss [nat] | best rate | rule |
|---|---|---|---|---|---|
| 16 | 128k | 10 | 1.005 | 0.0223 | 0.0179 |
| 32 | 128k | 10 | 0.976 | 0.0096 | 0.0104 |
| 32 | 128k | 40 | 0.768 | 0.0096 | 0.0104 |
| 64 | 128k | 10 | 0.920 | 0.0049 | 0.0060 |
| 64 | 128k | 40 | 0.716 | 0.006 or above | 0.0060 |
| 128 | 128k | 10 | 0.914 | 0.0022 | 0.0035 |

So it holds in steps and for other inputs, but falls too slowly with the width: at 128 it is 1.3 to
1.6 times the best rate, which costs 0.8 %, and at 256 and 512 half of it gains 4 to 7 %
(`studies/large_end`, 2031 steps). Runs and fit: `studies/jets/rates.*`.
"""

import math

REFERENCE_RATE = 7.8e-3
REFERENCE_WIDTH = 32
REFERENCE_STEPS = 250
WIDTH_EXPONENT = -0.79
STEPS_EXPONENT = 0.41
FITTED_STEPS = 63, 500
MEASURED_STEPS = 63, 1000
MEASURED_WIDTHS = 8, 128
WORST_FACTOR = 2.0

SMALLEST_BATCH, LARGEST_BATCH = 16, 128


def learning_rate_rule(width: int, steps: int) -> float:
    """Peak learning rate η_ref (w / w_ref)^a (T / T_ref)^b for width w and T steps.

    Outside the range of T that it was fitted to, the rate at its end is taken.
    """
    low, high = FITTED_STEPS
    by_width = math.pow(width / REFERENCE_WIDTH, WIDTH_EXPONENT)
    by_steps = math.pow(min(max(steps, low), high) / REFERENCE_STEPS, STEPS_EXPONENT)
    return REFERENCE_RATE * by_width * by_steps


def judge_tuning(width: int, samples: int, *, batch: int, steps: int, rate: float) -> str:
    """Whether a one-epoch run is `ok`, `under-tuned`, or `unmeasured`.

    Under-tuned: its rate is more than a factor 2 from the rule's. On the ladder of rates above such
    runs lie 9.1 % above the best of their cell on average, the others 1.6 %, and seeds of one cell
    differ by 2 % (median). Unmeasured: its width, its steps or a batch other than the rule's lie
    where no ladder was run.
    """
    (narrow, wide), (few, many) = MEASURED_WIDTHS, MEASURED_STEPS
    ruled = batch == batch_size_rule(samples)
    if not (ruled and narrow <= width <= wide and few <= steps <= many):
        return "unmeasured"
    away = rate / learning_rate_rule(width, steps)
    return "ok" if 1 / WORST_FACTOR <= away <= WORST_FACTOR else "under-tuned"


def batch_size_rule(samples: int) -> int:
    """Jets a step for a run of `samples` jets: the power of two nearest √samples / 2, in bounds.

    Small runs thus get enough steps (63 at 1000 jets), large ones enough jets a step to be fast.
    """
    nearest = 1 << max(0, round(math.log2(math.sqrt(samples) / 2)))
    return min(max(nearest, SMALLEST_BATCH), LARGEST_BATCH)
