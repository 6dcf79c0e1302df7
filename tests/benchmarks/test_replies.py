"""What the bank of replies keeps of each reply, and that the stored one is the embedded model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import replies
from benchmarks.replies import BACKWARDS, PROMPTS, REPLIES, Bank, BankRow, bank, measure, store
from data.home import Home
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


def test_what_a_reply_repeats_counts_once(tiny_base: BaseModel) -> None:
    """The mean is over the tokens that complete three in a row for the first time, whatever the others are worth."""
    assert replies.is_new([7, 8, 7, 8, 7, 8, 9]) == [True, True, True, True, False, False, True]
    assert replies.is_new([5, 5, 5, 5, 5]) == [True, True, True, False, False]
    query = tiny_base.encode_chat((Turn("user", "Hello!"),))
    said = tiny_base.encode_reply("one two three ")
    responses = [said[:-1] * 4, said[:-1]]
    batch = batch_sequences([query, query], responses, tiny_base.pad_id, tiny_base.device)
    logprobs = evaluate_policy(tiny_base, None, batch, 1.0).logprobs
    means, _ = measure(tiny_base, [query, query], responses)
    once = len(said) - 1 + 2  # where the second time begins, two more threes are new
    assert means[0] == pytest.approx(float(logprobs[0, :once].mean()), abs=1e-5)
    assert means[0] != pytest.approx(float(logprobs[0].mean()), abs=1e-3)
    assert means[1] == pytest.approx(float(logprobs[1].sum() / (once - 2)), abs=1e-5)


def test_the_stored_bank_holds_what_the_embedded_model_makes_of_it(base_model: BaseModel, tmp_path: Path) -> None:
    """It is read without a model; some of its numbers are measured anew here."""
    encode = base_model.encode_chat
    found = bank(Home(tmp_path / "there is no such home"))
    assert [row.prompt for row in found.rows] == [prompt for prompt in range(PROMPTS) for _ in range(REPLIES)]
    replied = [base_model.encode_reply(row.text, row.finished) for row in found.rows]
    asked = [base_model.encode_reply(found.prompts[row.prompt]) for row in found.rows]
    whole = [i for i, row in enumerate(found.rows) if len(replied[i]) == row.tokens < 120]
    # A few tokens' mean is as uncertain as one CPU's bfloat16 differs from another's (.088 for six tokens was seen and
    # .064 for ten).
    long_replies = [i for i in whole if len(replied[i]) >= 20][::60]
    long_questions = [i for i in whole if len(asked[i]) >= 20][::2]
    assert len(long_replies) >= 6 and any(found.rows[i].finished for i in long_replies) and len(long_questions) >= 6
    contexts = [encode(found.context(i)) for i in long_replies]
    forwards, _ = measure(base_model, contexts, [replied[i] for i in long_replies])
    turned = [encode((Turn("user", BACKWARDS.format(reply=found.rows[i].text)),)) for i in long_questions]
    backwards, _ = measure(base_model, turned, [asked[i] for i in long_questions])
    assert forwards == pytest.approx([found.rows[i].reply_logprob for i in long_replies], abs=0.05)
    assert backwards == pytest.approx([found.rows[i].question_logprob for i in long_questions], abs=0.05)


def test_a_bank_is_read_as_it_was_stored_unless_it_was_made_with_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "STORED", tmp_path / "stored.jsonl.gz")
    rows = tuple(BankRow(i // 2, f"Zeile\u2028 {i}", i % 2 == 0, 3 + i, -1.5 - i, -2.25) for i in range(6))
    whole = Bank(("one", "two", "three"), ("talk",) * 3, rows)
    assert replies._stored(whole.prompts) is None, "there is none yet"
    store(whole)
    assert replies._stored(whole.prompts) == rows
    assert replies._stored(("one", "two")) == rows[:4]
    assert replies._stored(("one", "three")) is None
    monkeypatch.setattr(replies, "SEED", 1)
    assert replies._stored(whole.prompts) is None
