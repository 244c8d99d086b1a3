"""The network: a pre-norm transformer encoder over the particles of a jet, pooled, then a head.

The particles of a batch come in one of two layouts, with the same logits: `Padded`, every jet with
the slots of the longest, or `Packed`, end to end without padding.
"""

from dataclasses import dataclass
from typing import Literal

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
    from torch.nn.attention.varlen import varlen_attn
except ImportError as error:
    raise ImportError('torch is missing; pip install "isoflop[training]"') from error

Pool = Literal["mean", "attention"]
POOLS = ("mean", "attention")
SMALLEST_SPREAD = 0.1


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes of the network; everything that sets its number of parameters."""

    inputs: int
    """Features of a particle."""
    width: int
    """Size d of the residual stream, 4 to 512."""
    depth: int
    """Number of blocks."""
    heads: int
    """Attention heads; divides the width."""
    mlp_ratio: int = 4
    """Hidden size of a block's perceptron over the width."""
    pool: Pool = "mean"
    """How particles become one jet: their mean, or a learned weighted mean."""
    classes: int = 10
    """Jet classes."""


@dataclass(frozen=True)
class Padded:
    """Particles in slots, the same number for every jet: x has shape (jets, slots, ...)."""

    mask: Tensor
    """True on particles, False on padding, shape (jets, slots)."""

    def attend(self, qkv: Tensor) -> Tensor:
        """Mix values; queries, keys and values (jets, slots, 3, heads, size), result without the 3.

        What padding gets is not used.
        """
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mask = self.mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2)

    def slotted(self, x: Tensor) -> Tensor:
        """In slots, shape (jets, slots, width)."""
        return x

    def to(self, device: torch.device) -> "Padded":
        """On another device."""
        return Padded(self.mask.to(device))


@dataclass(frozen=True)
class Packed:
    """Particles of all jets end to end: x has shape (particles, ...)."""

    mask: Tensor
    """The slots they fill, as in `Padded`."""
    place: Tensor
    """Their places among all slots, in order, shape (particles,), int64."""
    bounds: Tensor
    """The first particle of each jet, then the number of them all, shape (jets + 1,), int32."""

    def attend(self, qkv: Tensor) -> Tensor:
        """Mix values; queries, keys and values (particles, 3, heads, size), result without the 3.

        The kernel that needs no padding knows 16-bit numbers on a GPU only, in heads whose size is
        a multiple of 8 up to 256.
        """
        short, size = qkv.dtype in (torch.bfloat16, torch.float16), qkv.shape[-1]
        if qkv.is_cuda and short and size % 8 == 0 and size <= 256:
            query, key, value = qkv.unbind(1)
            slots = self.mask.shape[1]
            mixed = varlen_attn(query, key, value, self.bounds, self.bounds, slots, slots)
            assert isinstance(mixed, Tensor)
            return mixed
        mixed = Padded(self.mask).attend(self.slotted(qkv))
        return mixed.flatten(0, 1).index_select(0, self.place)

    def slotted(self, x: Tensor) -> Tensor:
        """In slots, zeros in the padding, shape (jets, slots, ...)."""
        slots = x.new_zeros(self.mask.numel(), *x.shape[1:]).index_copy(0, self.place, x)
        return slots.view(*self.mask.shape, *x.shape[1:])

    def to(self, device: torch.device) -> "Packed":
        """On another device; the copies go on while others are begun."""
        given = self.mask, self.place, self.bounds
        return Packed(*(tensor.to(device, non_blocking=True) for tensor in given))


Layout = Padded | Packed


class Block(nn.Module):
    """Self-attention and a perceptron, each behind a norm and around a residual (pre-norm)."""

    def __init__(self, config: TransformerConfig) -> None:  # noqa: D107
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Update x, shape (..., width) as the layout has it."""
        qkv = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))
        x = x + self.out(layout.attend(qkv).flatten(-2))
        hidden = functional.relu(self.up(self.norm_mlp(x)))
        return x + self.down(hidden)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Particles in, class logits out; blind to the order of the particles and to padding."""

    centre: Tensor
    spread: Tensor

    def __init__(self, config: TransformerConfig) -> None:  # noqa: D107
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(config.inputs))
        self.register_buffer("spread", torch.ones(config.inputs))
        self.embed_in = nn.Linear(config.inputs, config.width)
        self.embed_out = nn.Linear(config.width, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm_pool = nn.LayerNorm(config.width)
        self.pool_score = nn.Linear(config.width, 1) if config.pool == "attention" else None
        self.head = nn.Linear(config.width, config.classes)
        self.apply(_initialise)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):  # the residual sum keeps its variance
                nn.init.normal_(weight, std=(2 * config.depth * weight.shape[1]) ** -0.5)
        nn.init.zeros_(self.head.weight)  # the first loss is log(classes)

    def standardise(self, x: Tensor) -> None:
        """Take the scale of the inputs from examples, shape (particles, inputs).

        These two vectors are constants, not trained and not counted as parameters. A floor under
        the spread keeps a rare flag from becoming an outlier.
        """
        self.centre = x.mean(dim=0)
        self.spread = x.std(dim=0).clamp_min(SMALLEST_SPREAD)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Class logits, shape (jets, classes), of features `x`, shape (..., inputs)."""
        x = (x - self.centre) / self.spread
        x = self.embed_out(functional.relu(self.embed_in(x)))
        for block in self.blocks:
            x = block(x, layout)
        pooled = self._pooled(layout.slotted(self.norm_pool(x)), layout.mask)
        return self.head(pooled)  # type: ignore[no-any-return]

    def _pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.pool_score is None:
            weight = mask / mask.sum(dim=1, keepdim=True)
        else:
            score = self.pool_score(x).squeeze(-1)
            weight = score.masked_fill(~mask, -torch.inf).softmax(dim=1)
        return torch.einsum("jp,jpd->jd", weight.to(x.dtype), x)


def _initialise(module: nn.Module) -> None:
    """Weights of variance 1 / inputs, biases at zero."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
