"""Count parameters and FLOPs of the network from its sizes, with the derivations.

Notation: d width, n particles of a jet (with padding, if any), F inputs, L depth, m hidden size
over width, K classes. One multiply-accumulate is 2 FLOP. Only matrix products are counted, as
everywhere in the field; norms, activations and the softmax are left out.

Forward FLOP of a jet:

* embedding: F → d → d for each particle, 2 n (F d + d²);
* attention, a block: queries, keys, values and the output map, 2 n · 4 d²; the scores query · key
  and the mix of the values, 2 · 2 n² d whatever the number of heads;
* perceptron, a block: d → m d → d, 2 n · 2 m d²;
* head: d → K once a jet, 2 d K, and the pooling 2 n d (twice that when the pooling is learned).

The backward pass costs twice the forward pass, so training costs 3 forward passes a jet. The law's
convention C = 6 N D T (T mean particles a jet) follows from it: every weight takes part in one
multiply-accumulate a particle, 2 N T FLOP forward; it leaves out the n² of the attention and counts
the head as if it ran on every particle.
"""

from dataclasses import dataclass, fields

from isoflop.training.models import TransformerConfig


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters by group."""

    embedding: int
    """The two layers that lift a particle's features to the width."""
    attention: int
    """Query, key, value and output maps of all blocks."""
    mlp: int
    """Perceptrons of all blocks."""
    norm: int
    """Gains and offsets of all norms."""
    head: int
    """Pooling and the class layer."""

    @property
    def total(self) -> int:
        """All trainable parameters."""
        return sum(getattr(self, item.name) for item in fields(self))


def count_parameters(config: TransformerConfig) -> ParameterCount:
    """Parameters by group; weights and biases."""
    d, hidden = config.width, config.mlp_ratio * config.width
    pooling = d + 1 if config.pool == "attention" else 0
    return ParameterCount(
        embedding=config.inputs * d + d + d * d + d,
        attention=config.depth * (4 * d * d + 4 * d),
        mlp=config.depth * (2 * d * hidden + hidden + d),
        norm=(2 * config.depth + 1) * 2 * d,
        head=d * config.classes + config.classes + pooling,
    )


def forward_flops(config: TransformerConfig, particles: float) -> float:
    """FLOP of one forward pass of one jet with `particles` particles, padding included."""
    d, n = config.width, particles
    embedding = 2 * n * (config.inputs * d + d * d)
    attention = config.depth * (2 * n * 4 * d * d + 4 * n * n * d)
    mlp = config.depth * 2 * n * 2 * config.mlp_ratio * d * d
    pooling = 2 * n * d * (2 if config.pool == "attention" else 1)
    return embedding + attention + mlp + pooling + 2 * d * config.classes


def training_flops(config: TransformerConfig, particles: float, samples: float) -> float:
    """FLOP of training on `samples` jets, counted layer by layer: 3 forward passes a jet."""
    return 3.0 * forward_flops(config, particles) * samples


def law_flops(params: float, particles: float, samples: float) -> float:
    """The convention 6 N D T: `particles` is T, the mean particles of a jet, `samples` is D."""
    return 6.0 * params * samples * particles
