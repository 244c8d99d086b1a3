"""The network: blind to padding and to the order of particles, and able to learn."""

import math

import pytest
import torch
from torch.nn import functional

from isoflop.training.models import (
    POOLS,
    SMALLEST_SPREAD,
    Block,
    Packed,
    Padded,
    Pool,
    Transformer,
    TransformerConfig,
)


def network(pool: Pool = "mean") -> Transformer:
    """A small network with every weight drawn at random, so that no symmetry hides a fault."""
    torch.manual_seed(1)
    model = Transformer(TransformerConfig(inputs=5, width=16, depth=2, heads=2, pool=pool))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double()


def jets(count: int, particles: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(count, particles, 5, generator=generator, dtype=torch.float64)
    return x, torch.ones(count, particles, dtype=torch.bool)


@pytest.mark.parametrize("pool", POOLS)
def test_padding_does_not_change_the_logits(pool: Pool) -> None:
    model = network(pool)
    x, mask = jets(4, 7)
    padded_x = torch.cat([x, torch.full((4, 6, 5), 100.0, dtype=x.dtype)], dim=1)
    padded_mask = torch.cat([mask, torch.zeros(4, 6, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(model(padded_x, Padded(padded_mask)), model(x, Padded(mask)))


@pytest.mark.parametrize("pool", POOLS)
def test_order_of_particles_does_not_change_the_logits(pool: Pool) -> None:
    model = network(pool)
    x, mask = jets(4, 9)
    mask[:, 6:] = False
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model(x[:, order], Padded(mask[:, order])), model(x, Padded(mask)))


def test_jets_of_a_batch_do_not_see_each_other() -> None:
    model = network()
    x, mask = jets(4, 9)
    torch.testing.assert_close(model(x[:1], Padded(mask[:1])), model(x, Padded(mask))[:1])


@pytest.mark.parametrize("pool", POOLS)
def test_packed_particles_have_the_logits_and_gradients_of_padded_ones(pool: Pool) -> None:
    model = network(pool)
    x, mask = jets(4, 9)
    counts = torch.tensor([9, 1, 4, 6])
    mask[:] = torch.arange(9) < counts[:, None]
    bounds = torch.cat([torch.zeros(1), counts.cumsum(0)]).int()
    packed = Packed(mask, mask.flatten().nonzero().flatten(), bounds)
    for given, layout in ((x, Padded(mask)), (x[mask], packed)):
        logits = model(given, layout)
        functional.cross_entropy(logits, torch.arange(4)).backward()  # type: ignore[no-untyped-call]
        gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        model.zero_grad()
        if layout is not packed:
            expected = logits, gradient
    torch.testing.assert_close((logits, gradient), expected)


def test_block_equals_attention_written_out() -> None:
    model = network()
    block = model.blocks[0]
    assert isinstance(block, Block)
    x, _ = jets(1, 6)
    x = torch.cat([x, x, x, x[..., :1]], dim=-1)
    mask = torch.tensor([[True, True, True, True, False, False]])
    query, key, value = block.qkv(block.norm_attention(x)).chunk(3, dim=-1)
    heads = []
    for part in (slice(0, 8), slice(8, 16)):
        score = query[..., part] @ key[..., part].mT / math.sqrt(8)
        share = score.masked_fill(~mask[:, None, :], -torch.inf).softmax(dim=-1)
        heads.append(share @ value[..., part])
    after = x + block.out(torch.cat(heads, dim=-1))
    expected = after + block.down(functional.relu(block.up(block.norm_mlp(after))))
    torch.testing.assert_close(block(x, Padded(mask)), expected)


def test_first_loss_is_that_of_a_guess() -> None:
    model = Transformer(TransformerConfig(inputs=5, width=16, depth=2, heads=2)).double()
    x, mask = jets(8, 4)
    loss = functional.cross_entropy(model(x, Padded(mask)), torch.arange(8))
    assert loss.item() == pytest.approx(math.log(10))


def test_units_of_the_inputs_do_not_matter_once_standardised() -> None:
    model = network()
    x, mask = jets(50, 6)
    unit, zero = torch.tensor([10.0, 0.5, 3.0, 1.0, 7.0]), torch.tensor([1.0, -2.0, 0.0, 5.0, 3.0])
    model.standardise(x[mask])
    expected = model(x, Padded(mask))
    scaled = x * unit + zero
    model.standardise(scaled[mask])
    torch.testing.assert_close(model(scaled, Padded(mask)), expected)


def test_a_rare_flag_does_not_become_an_outlier() -> None:
    model = network()
    x = torch.zeros(1000, 5, dtype=torch.float64)
    x[0, 0] = 1.0
    model.standardise(x)
    assert (x[0, 0] - model.centre[0]) / model.spread[0] < 1.001 / SMALLEST_SPREAD
