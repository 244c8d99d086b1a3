"""Steps of the optimiser: the gradient of a batch, clipping, AdamW.

On a GPU a step of a network of this size is hundreds of short kernels, and the processor needs
longer to start them than the GPU to run them. There a step is recorded once, as a CUDA graph, and
replayed for each batch.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from isoflop.training import ranks
from isoflop.training.config import RunConfig
from isoflop.training.counting import training_flops
from isoflop.training.feeding import Part
from isoflop.training.jets.batches import IntArray, JetSet, Room
from isoflop.training.models import Transformer

GRADIENT_CLIP = 1.0
# Of a run that is worth compiling: ten blocks of width 128 take 21 s of it on an H200 and then 7.1
# instead of 11.3 ms for a step on 512 jets, which pays after 1.4e15.
COMPILED_FLOPS = 2e15
_WARM_UP = 3  # steps before one is recorded: kernels are chosen, the optimiser's state is made
_UNREAD = 32  # losses that may wait on the GPU before the process waits for them

Network = Callable[..., Any]
"""A transformer or what `torch.compile` makes of it."""


class Stepper:
    """Takes a step on each batch it is called with."""

    room: Room | None = None
    """What batches are filled up to, if anything."""

    def __init__(self, model: Transformer, optimizer: torch.optim.Optimizer) -> None:  # noqa: D107
        self.model, self.optimizer = model, optimizer
        self._losses: list[Tensor | float] = []

    def __call__(self, parts: Iterable[Part], jets: int, rate: float) -> None:
        """Take a step of the given rate on a batch of so many jets, counted over all processes."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._losses.append(self._step(parts, jets))

    def losses(self, *, settled: bool = True) -> list[float]:
        """Losses of the steps since the last call [nat]; not `settled`, a few may be left out."""
        if not settled and len(self._losses) < _UNREAD and self.model.centre.is_cuda:
            return []  # the process goes on while the GPU works
        found = [float(loss) for loss in self._losses]
        self._losses.clear()
        return found

    def _step(self, parts: Iterable[Part], jets: int) -> Tensor | float:
        self.optimizer.zero_grad()
        loss = accumulate(self.model, parts, jets)
        self._move()
        return loss

    def _move(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        self.optimizer.step()


class RecordedStepper(Stepper):
    """A CUDA graph of the step on batches of so many jets that fill a room; others go without."""

    def __init__(  # noqa: D107
        self,
        model: Transformer,
        optimizer: torch.optim.Optimizer,
        *,
        jets: int,
        room: Room,
        compiled: bool,
    ) -> None:
        super().__init__(model, optimizer)
        self.jets, self.room = jets, room
        self._network = torch.compile(model, dynamic=False) if compiled else model
        self._part: Part | None = None  # the memory that the graph reads
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = 0

    def _step(self, parts: Iterable[Part], jets: int) -> Tensor | float:
        part, *others = parts = list(parts)
        if others or jets != self.jets or not part.fills(self.room):
            return super()._step(parts, jets)
        if self._part is None:
            self._part = part.to(self.model.centre.device)
        else:
            self._part.take(part)
        if self._warm < _WARM_UP:
            return self._warm_up(self._part)
        if self._graph is None:
            self._record(self._part)
        assert self._graph is not None
        self._graph.replay()
        return self._loss.clone()

    def _warm_up(self, part: Part) -> Tensor:
        self._warm += 1
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            loss = self._work(part)
        torch.cuda.current_stream().wait_stream(side)
        return loss

    def _record(self, part: Part) -> None:
        self.optimizer.zero_grad()  # the graph makes gradients of its own
        self._graph = torch.cuda.CUDAGraph()
        # Of this thread only: the one that reads the next batches may ask for pinned memory.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._loss = self._work(part)

    def _work(self, part: Part) -> Tensor:
        self.optimizer.zero_grad()
        loss = total_loss(self._network, part) / self.jets
        loss.backward()  # type: ignore[no-untyped-call]
        self._move()
        return loss.detach()


def adamw(model: Transformer, rate: float, *, weight_decay: float) -> torch.optim.AdamW:
    """The optimiser; on a GPU its rate is in the GPU's memory, where a recorded step reads it."""
    device = model.centre.device
    on_gpu = device.type == "cuda"
    return torch.optim.AdamW(
        model.parameters(),
        lr=torch.tensor(rate, device=device) if on_gpu else rate,
        betas=(0.9, 0.95),
        weight_decay=weight_decay,
        fused=True,
        capturable=on_gpu,
    )


def stepper(
    config: RunConfig,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    jets: JetSet,
    rows: IntArray,
) -> Stepper:
    """The fastest way to take the steps of a run on these rows where its model is."""
    if not model.centre.is_cuda or ranks.number() > 1:
        return Stepper(model, optimizer)
    flops = training_flops(config.network, jets.mean_particles(rows), config.samples)
    room, compiled = jets.room(rows, config.batch), flops >= COMPILED_FLOPS
    return RecordedStepper(model, optimizer, jets=config.batch, room=room, compiled=compiled)


def accumulate(model: Transformer, parts: Iterable[Part], jets: int) -> float:
    """Add the gradient of the mean loss of a batch of so many jets, part by part; that loss [nat].

    Of several processes each adds up its share of the jets, then all have the sum.
    """
    total = 0.0
    for part in parts:
        loss = total_loss(model, part.to(model.centre.device)) / jets
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return ranks.sum_gradients(model, total)


def total_loss(model: Network, part: Part) -> Tensor:
    """The sum of the losses of some jets [nat]."""
    return functional.cross_entropy(logits(model, part), part.label, reduction="sum")


def logits(model: Network, part: Part) -> Tensor:
    """Logits in float32, shape (jets, classes); bfloat16 inside on GPUs that have it."""
    device = part.x.device.type
    short = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    with torch.autocast(device, torch.bfloat16, enabled=short):
        return model(part.x.float(), part.layout).float()  # type: ignore[no-any-return]
