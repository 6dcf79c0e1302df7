"""The Fisher information of a policy where it is the base, by products with vectors, and what it divides.

A change v of the weights costs 1/2 v'Fv nats a reply, to second order, so that F^-1 g goes farthest down the loss for
its nats (Amari 1998; Kakade 2001). F is far too large to be written down; its product with v is the gradient of the KL
a little along v, exact over the vocabulary, so that a few dozen replies tell it. Conjugate gradients need a few such
products (Martens 2010; Schulman et al. 2015, "Trust region policy optimization"). They stop early on purpose: the
gradient of a hundred replies is noise in most directions, and F^-1 would amplify just these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from learner.modeling.base import BaseModel
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import LOGIT_ROWS, SequenceBatch, parts_of, response_states
from learner.policy.steps import clear_gradients

Vector = list[torch.Tensor]  # in the shapes of the adapter's parameters
# What a probe should cost. At 5 nats a product points elsewhere (cosine .56 with that of a short one in float32); in
# bfloat16 it is blurred at .08 (.94) and tells next to nothing at .001 (.45; docs/log.md).
PROBE_NATS, PROBE_TOLERANCE = 0.3, 3.0


class Fisher:
    """F of `adapter` at weights where it changes nothing, along replies of the base, in nats a reply."""

    def __init__(
        self, base: BaseModel, adapter: str, batches: Sequence[SequenceBatch], temperature: float
    ) -> None:
        self._base, self._adapter, self._batches, self._temperature = base, adapter, batches, temperature
        self._micro_batch = MicroBatch(max(len(batch.input_ids) for batch in batches))

    def product(self, vector: Vector, length: float) -> Vector:
        """F v, in float32, by a probe of `length` times v; the adapter's weights are afterwards what they were."""
        parameters = self._base.adapter_parameters(self._adapter)
        begun = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter, part in zip(parameters, vector, strict=True):
                parameter.add_(length * part)
        self._micro_batch.fit(self._backward)
        rows = sum(len(batch.input_ids) for batch in self._batches)
        found = [torch.zeros_like(p, dtype=torch.float32) if p.grad is None else p.grad.float() for p in parameters]
        with torch.no_grad():
            for parameter, before in zip(parameters, begun, strict=True):
                parameter.copy_(before)
        clear_gradients(parameters)
        return [part / (rows * length) for part in found]

    def _backward(self, rows_at_once: int) -> None:
        """Set the gradients of the sum over replies of KL(base || policy), which has the same F."""
        base = self._base
        clear_gradients(base.adapter_parameters(self._adapter))
        for batch in self._batches:
            for part in parts_of(batch, rows_at_once):
                with torch.no_grad(), base.using(None):
                    reference = response_states(base, part)
                with base.using(self._adapter):
                    states = response_states(base, part)
                parts = zip(states.split(LOGIT_ROWS), reference.split(LOGIT_ROWS), strict=True)
                slope = torch.cat([self._slope(ours, theirs) for ours, theirs in parts])
                states.backward(slope)

    def _slope(self, states: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """(N, H) gradient of the KL in the policy's last hidden states; that in its logits is p - q."""
        states = states.detach().requires_grad_()
        logits = self._base.logits(states).float() / self._temperature
        with torch.no_grad():
            q = (self._base.logits(reference).float() / self._temperature).softmax(-1)
            change = logits.softmax(-1) - q
        (slope,) = torch.autograd.grad(logits, states, change)
        return slope


def dot(a: Vector, b: Vector) -> float:
    return float(sum((x * y).sum() for x, y in zip(a, b, strict=True)))


def conjugate_gradients(
    product: Callable[[Vector, float], Vector],
    preconditioned: Callable[[Vector], Vector],
    right: Vector,
    steps: int,
    probe: float,
    go_on: Callable[[int], bool] = lambda step: True,
) -> Vector:
    """About F^-1 `right`, scaled so that l times it costs l^2 / 2 nats, by at most `steps` products F v.

    `product(v, l)` probes as far as l v. The first l is `probe`; where that costs much more or less than PROBE_NATS, it
    is done once more, as far as it should go. Later ones go about as many nats. One step goes along
    `preconditioned(right)`. `go_on` is asked before each. All zeros where `right` is, or where F has no curvature.
    """
    solution, rest = [torch.zeros_like(part) for part in right], list(right)
    along = divided = preconditioned(rest)
    size = norm = dot(rest, divided)  # `norm` of `along`, by the inverse of what preconditions
    length = probe
    for step in range(steps):
        if not 0 < size < float("inf") or not go_on(step):
            break
        curved = product(along, length)
        curvature = dot(along, curved)
        off = 0.5 * length**2 * curvature / PROBE_NATS
        if step == 0 and 0 < off < float("inf") and not 1 / PROBE_TOLERANCE < off < PROBE_TOLERANCE:
            length /= off**0.5
            curved = product(along, length)
            curvature = dot(along, curved)
        if not 0 < curvature < float("inf"):
            break
        share = size / curvature
        solution = [a + share * b for a, b in zip(solution, along, strict=True)]
        rest = [a - share * b for a, b in zip(rest, curved, strict=True)]
        divided = preconditioned(rest)
        before, size = size, dot(rest, divided)
        along = [a + size / before * b for a, b in zip(divided, along, strict=True)]
        longer = size + (size / before) ** 2 * norm
        length, norm = length * (norm / longer) ** 0.5, longer
    nats = dot(solution, right)  # x'Fx of what conjugate gradients have come to
    return [part / nats**0.5 for part in solution] if nats > 0 else solution
