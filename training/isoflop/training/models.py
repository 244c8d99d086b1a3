"""The network: a pre-norm transformer encoder over the particles of a jet, pooled, then a head."""

from dataclasses import dataclass
from typing import Literal

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
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

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Update x (jets, particles, width); mask (jets, 1, 1, particles), True on particles."""
        jets, particles, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(jets, particles, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(jets, particles, width))
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

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Class logits, shape (jets, classes).

        `x`: features, shape (jets, particles, inputs); `mask`: True on particles, False on
        padding, shape (jets, particles); every jet holds at least one particle.
        """
        x = (x - self.centre) / self.spread
        x = self.embed_out(functional.relu(self.embed_in(x)))
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])
        return self.head(self._pooled(self.norm_pool(x), mask))  # type: ignore[no-any-return]

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
