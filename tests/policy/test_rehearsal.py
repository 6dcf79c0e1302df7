"""Neutral text that training made less likely is made likely again, on two tiny architectures in float32."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from data.prompts import rehearsal_chat, rehearsal_text
from data.types import Reply, Turn
from learner.config import RehearsalConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.policy.rehearsal import Rehearsal
from learner.policy.task import LearningError

CONFIG = RehearsalConfig(tolerance=0.005)


def answers(base: BaseModel) -> list[tuple[list[int], list[int]]]:
    return [(base.encode_chat([Turn("user", q)]), base.encode_reply(answer)) for q, answer in rehearsal_chat()]


def prose(base: BaseModel) -> list[tuple[list[int], list[int]]]:
    ids = base.tokenizer(rehearsal_text(), add_special_tokens=False)["input_ids"]
    return [(ids[i : i + 1], ids[i + 1 : i + 256]) for i in range(0, len(ids), 256)]


def loss(base: BaseModel, adapter: str | None, rows: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """The mean over all response tokens, as a textbook has it: one text at a time, all its logits at once."""
    losses: list[torch.Tensor] = []
    with base.using(adapter):
        for query, response in rows:
            ids = torch.tensor([[*query, *response]])
            states = base.hidden_states(
                input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=torch.arange(ids.shape[1])[None],
                use_cache=False,
            ).last_hidden_state  # fmt: skip
            logprobs = base.logits(states[0]).float().log_softmax(-1)
            losses += [-logprobs[len(query) - 1 + i, token] for i, token in enumerate(response)]
    return torch.stack(losses).mean()


def rise(base: BaseModel, rows: Sequence[tuple[list[int], list[int]]]) -> float:
    with torch.no_grad():
        return float(loss(base, "policy", rows) - loss(base, None, rows))


_spoilt: dict[tuple[int, float], lora.State] = {}  # what it was made last time, for that takes seconds


def spoil(base: BaseModel, rows: Sequence[tuple[list[int], list[int]]] | None = None, by: float = 0.05) -> None:
    """Make `rows` (the answers) about `by` nats a token less likely: along the gradient, where training hurts."""
    if (id(base), by) not in _spoilt:
        _walk_uphill(base, rows or answers(base), by)
        _spoilt[id(base), by] = base.adapter_state("policy")
    base.set_adapter_state("policy", _spoilt[id(base), by])


def _walk_uphill(base: BaseModel, rows: Sequence[tuple[list[int], list[int]]], by: float) -> None:
    parameters = base.adapter_parameters("policy")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in parameters:  # B is zero in a new one, and A has no gradient then
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    for _ in range(20):
        missing = by - rise(base, rows)
        if missing < 0:
            return
        gradients = torch.autograd.grad(loss(base, "policy", rows), list(parameters))
        squared = sum(float(gradient.square().sum()) for gradient in gradients)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(1.1 * missing / squared * gradient)
    raise AssertionError("the adapter could not be spoilt")


def test_no_kind_of_text_stays_less_likely_than_the_tolerance(policy: BaseModel) -> None:
    spoil(policy)
    before = (rise(policy, prose(policy)), rise(policy, answers(policy)))
    found = Rehearsal(policy, "policy", CONFIG).hold()
    after = (rise(policy, prose(policy)), rise(policy, answers(policy)))
    assert before[1] >= 0.049 and found.rises_before == pytest.approx(before, abs=1e-4)
    assert max(after) <= CONFIG.tolerance and found.rises == pytest.approx(after, abs=1e-4)
    assert 1 <= found.steps <= CONFIG.max_steps


def test_one_step_goes_along_the_gradient_as_far_as_a_plane_would_take_the_losses_to_the_bases(
    policy: BaseModel,
) -> None:
    spoil(policy)
    parameters = policy.adapter_parameters("policy")
    begun = [parameter.detach().clone() for parameter in parameters]
    risen = [rows for rows in (prose(policy), answers(policy)) if rise(policy, rows) > 0]
    total = torch.stack([loss(policy, "policy", rows) for rows in risen]).sum()
    gradients = torch.autograd.grad(total, list(parameters))
    length = sum(rise(policy, rows) for rows in risen) / sum(float(gradient.square().sum()) for gradient in gradients)
    Rehearsal(policy, "policy", RehearsalConfig(max_steps=1)).hold()
    for parameter, start, gradient in zip(parameters, begun, gradients, strict=True):
        assert torch.allclose(parameter - start, -length * gradient, rtol=0.01, atol=1e-6)


def test_where_the_base_came_to_an_end_the_policy_is_as_ready_to_end(policy: BaseModel) -> None:
    contexts = [[Turn("user", text)] for text in ("Hello!", "What is the time in Paris now?", "Sing.", "Go on.")]
    said = [(context, [Reply(f"It is so, and more so {i}.", i != 3)]) for i, context in enumerate(contexts)]
    ends = []
    for context, (reply,) in said[:3]:  # the last one was cut off: there is no end in it
        *ids, end = [*policy.encode_chat(context), *policy.encode_reply(reply.text)]
        assert end == policy.end_of_turn_id
        ends.append((ids, [end]))
    spoil(policy, ends, by=0.5)
    found = Rehearsal(policy, "policy", CONFIG, said).hold()
    assert found.rises_before[2] == pytest.approx(0.5, abs=0.1)
    assert rise(policy, ends) == pytest.approx(found.rises[2], abs=1e-3) and found.rises[2] <= CONFIG.end_tolerance
    assert len(Rehearsal(policy, "policy", CONFIG, said[3:]).hold().rises) == 2


def test_how_many_texts_are_on_the_device_at_once_changes_nothing(policy: BaseModel) -> None:
    spoil(policy)
    spoilt, ends = policy.adapter_state("policy"), []
    for rows in (2, 50):
        policy.set_adapter_state("policy", spoilt)
        Rehearsal(policy, "policy", RehearsalConfig(max_steps=2, tolerance=0.0, micro_batch_size=rows)).hold()
        ends.append(policy.adapter_state("policy"))
    assert any(not torch.equal(ends[0][name], spoilt[name]) for name in spoilt)
    for name in spoilt:
        assert torch.allclose(ends[0][name], ends[1][name], atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, RehearsalConfig(max_steps=0)])
def test_an_adapter_that_reads_well_and_one_that_nothing_is_to_be_done_for_stay_as_they_are(
    policy: BaseModel, config: RehearsalConfig
) -> None:
    if config.max_steps == 0:
        spoil(policy)
    before = lora.state_sha256(policy.adapter_state("policy"))
    assert Rehearsal(policy, "policy", config).hold().steps == 0
    assert lora.state_sha256(policy.adapter_state("policy")) == before


def test_an_adapter_that_is_no_number_is_an_error(policy: BaseModel) -> None:
    rehearsal = Rehearsal(policy, "policy", CONFIG)
    with torch.no_grad():
        policy.adapter_parameters("policy")[0].fill_(float("nan"))
    with pytest.raises(LearningError, match="not finite"):
        rehearsal.hold()
