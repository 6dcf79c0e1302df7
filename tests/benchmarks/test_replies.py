"""What the bank of replies keeps of each reply, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.replies import measure
from data.types import Turn
from learner.modeling.base import BaseModel
from learner.policy.sequences import batch_sequences, evaluate_policy


def test_what_is_measured_of_replies_is_their_own(tiny_base: BaseModel) -> None:
    """A reply's numbers are its own, whatever is beside it; its log-probability is the trainer's."""
    queries = [tiny_base.encode_chat((Turn("user", text),)) for text in ("Hello!", "What is the time in Paris?")]
    responses = [tiny_base.encode_reply("Good morning to you."), tiny_base.encode_reply("Noon")]
    means, states = measure(tiny_base, queries, responses, (0.0, 0.5))
    batch = batch_sequences(queries, responses, tiny_base.pad_id, tiny_base.device)
    logprobs = evaluate_policy(tiny_base, None, batch, 1.0).logprobs
    assert means == pytest.approx((logprobs.sum(-1) / batch.response_mask.sum(-1)).tolist(), abs=1e-5)
    alone, states_alone = measure(tiny_base, queries[1:], responses[1:], (0.0, 0.5))
    assert alone[0] == pytest.approx(means[1], abs=1e-5)
    assert np.allclose(states_alone[0], states[1], atol=2e-3)
    assert states.shape[:2] == (2, 2)
    assert not np.allclose(states[0], states[1], atol=1e-2)
    assert not np.allclose(states[:, 0], states[:, 1], atol=1e-2)
    assert measure(tiny_base, queries, responses)[1].shape[1] == 0
