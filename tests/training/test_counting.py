"""Parameter and FLOP counts against torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from isoflop.training.counting import (
    count_parameters,
    forward_flops,
    law_flops,
    training_flops,
)
from isoflop.training.models import Padded, Pool, Transformer, TransformerConfig

CONFIGS = [
    TransformerConfig(inputs=3, width=4, depth=1, heads=1),
    TransformerConfig(inputs=17, width=32, depth=2, heads=2),
    TransformerConfig(inputs=17, width=48, depth=3, heads=3, mlp_ratio=2, pool="attention"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_parameters_by_group_equal_the_networks(config: TransformerConfig) -> None:
    model = Transformer(config)

    def numel(*parts: str) -> int:
        named = model.named_parameters()
        return sum(p.numel() for name, p in named if any(part in name for part in parts))

    count = count_parameters(config)
    assert count.embedding == numel("embed_")
    assert count.attention == numel(".qkv.", ".out.")
    assert count.mlp == numel(".up.", ".down.")
    assert count.norm == numel("norm_")
    assert count.head == numel("head.", "pool_score")
    assert count.total == sum(p.numel() for p in model.parameters())


@given(
    inputs=st.sampled_from([3, 17]),
    heads=st.integers(1, 4),
    head_width=st.integers(4, 32),
    depth=st.integers(1, 4),
    pool=st.sampled_from(["mean", "attention"]),
)
@settings(max_examples=15, deadline=None)
def test_parameters_sum_to_the_total_for_any_sizes(
    inputs: int, heads: int, head_width: int, depth: int, pool: Pool
) -> None:
    config = TransformerConfig(
        inputs=inputs, width=heads * head_width, depth=depth, heads=heads, pool=pool
    )
    total = sum(p.numel() for p in Transformer(config).parameters())
    assert count_parameters(config).total == total


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("particles", [10, 40])
def test_flops_equal_torchs_counter(config: TransformerConfig, particles: int) -> None:
    jets = 3
    x, mask = torch.randn(jets, particles, config.inputs), torch.ones(jets, particles) > 0
    # torch's counter does not know the fused attention of the CPU, so it counts the plain one.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        Transformer(config)(x, Padded(mask))
    assert counter.get_total_flops() == jets * forward_flops(config, particles)


def test_training_costs_three_forward_passes_a_jet() -> None:
    assert training_flops(CONFIGS[1], 40, 7) == 21 * forward_flops(CONFIGS[1], 40)


def test_law_convention_agrees_with_the_count_for_wide_networks() -> None:
    config = TransformerConfig(inputs=17, width=256, depth=4, heads=8)
    counted = training_flops(config, 40, 1)
    assert law_flops(count_parameters(config).total, 40, 1) == pytest.approx(counted, rel=0.05)
