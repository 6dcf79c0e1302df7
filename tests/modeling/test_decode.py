"""The decoder: company and order change nothing, seeds reproduce, sampling is plain, adapters do not mix."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from data.errors import Invalid
from data.types import Turn
from learner.config import LoraSettings
from learner.modeling.base import BaseModel
from learner.modeling.decode import Decoder, SamplingSettings, sample

TEXTS = ("Hello!", "Tell me about the sea and the ships on it, please.", "Why?", "Count to three.")
GREEDY = SamplingSettings(temperature=0.0, max_new_tokens=16)


def run(
    decoder: Decoder,
    prompts: Sequence[list[int]],
    settings: Sequence[SamplingSettings],
    adapters: Sequence[str | None],
    pause: int = 0,
) -> list[list[int]]:
    """Token ids of every row; with `pause`, rows join that many steps after one another."""
    said: dict[int, list[int]] = {}

    def step() -> None:
        for token in decoder.step():
            said[token.row].append(token.token_id)

    handles = []
    for prompt, setting, adapter in zip(prompts, settings, adapters, strict=True):
        handles += decoder.add([prompt], [setting], [adapter])
        said[handles[-1]] = []
        for _ in range(pause):
            step()
    while decoder.active:
        step()
    return [said[handle] for handle in handles]


@pytest.fixture
def prompts(tiny_base: BaseModel) -> list[list[int]]:
    return [tiny_base.encode_chat([Turn("user", text)]) for text in TEXTS]


@pytest.fixture
def with_adapter(tiny_base: BaseModel) -> BaseModel:
    if "other" not in tiny_base.adapter_names():
        tiny_base.add_adapter("other", LoraSettings(rank=4))
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in tiny_base.adapter_parameters("other"):
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return tiny_base


def test_greedy_replies_are_the_same_alone_and_in_company(with_adapter: BaseModel, prompts: list[list[int]]) -> None:
    adapters: list[str | None] = [None, "other", "other", None]
    alone = [run(Decoder(with_adapter), [p], [GREEDY], [a])[0] for p, a in zip(prompts, adapters, strict=True)]
    assert run(Decoder(with_adapter), prompts, [GREEDY] * 4, adapters) == alone
    assert run(Decoder(with_adapter), prompts, [GREEDY] * 4, adapters, pause=3) == alone
    assert run(Decoder(with_adapter), prompts[:1], [GREEDY], ["other"]) != alone[:1]


def test_greedy_is_what_transformers_generates(tiny_base: BaseModel, prompts: list[list[int]]) -> None:
    for prompt in prompts:
        with tiny_base.using(None):
            expected = tiny_base.model.generate(
                input_ids=torch.tensor([prompt]), max_new_tokens=16, do_sample=False, repetition_penalty=1.0
            )
        assert run(Decoder(tiny_base), [prompt], [GREEDY], [None])[0] == expected[0, len(prompt) :].tolist()


def test_a_seed_reproduces_a_reply_and_another_seed_does_not(tiny_base: BaseModel, prompts: list[list[int]]) -> None:
    warm = [SamplingSettings(temperature=1.0, max_new_tokens=16, seed=seed) for seed in (7, 7, 8)]
    a, b, c = (run(Decoder(tiny_base), prompts[:1], [s], [None])[0] for s in warm)
    assert a == b != c
    assert run(Decoder(tiny_base), prompts, [warm[0]] * 4, [None] * 4)[0] == a


def test_a_removed_row_leaves_the_others_as_they_were(tiny_base: BaseModel, prompts: list[list[int]]) -> None:
    alone = run(Decoder(tiny_base), prompts[1:2], [GREEDY], [None])[0]
    decoder = Decoder(tiny_base)
    first, second = decoder.add(prompts[:2], [GREEDY] * 2, [None] * 2)
    said = [t.token_id for t in decoder.step() if t.row == second]
    decoder.remove(first)
    assert decoder.active == 1
    while decoder.active:
        said += [t.token_id for t in decoder.step()]
    assert said == alone
    decoder.remove(second)  # ended long ago: no error


def test_sampling_follows_the_tempered_distribution_and_top_p() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    generator = torch.Generator().manual_seed(0)
    def drawn(settings: SamplingSettings, times: int = 4000) -> list[tuple[int, float]]:
        return sample(logits.expand(times, -1), [settings] * times, [generator] * times)

    draws = drawn(SamplingSettings(temperature=1.0))
    counts = torch.bincount(torch.tensor([d[0] for d in draws]), minlength=4) / 4000
    assert torch.allclose(counts, logits.exp(), atol=0.03)  # 4 standard errors of 0.5 are 0.03
    assert {round(d[1], 4) for d in draws if d[0] == 0} == {round(float(torch.log(torch.tensor(0.5))), 4)}
    halved = [token for token, _ in drawn(SamplingSettings(temperature=0.5))]
    expected = logits.exp() ** 2 / (logits.exp() ** 2).sum()
    assert torch.allclose(torch.bincount(torch.tensor(halved), minlength=4) / 4000, expected, atol=0.03)
    cut = {token for token, _ in drawn(SamplingSettings(temperature=1.0, top_p=0.6), 400)}
    assert cut == {0, 1}


def test_rows_end_by_length_or_by_the_end_of_turn(tiny_base: BaseModel, prompts: list[list[int]]) -> None:
    decoder = Decoder(tiny_base)
    decoder.add(prompts[:1], [SamplingSettings(temperature=0.0, max_new_tokens=1)], [None])
    (token,) = decoder.step()
    assert token.finish in ("length", "stop") and decoder.active == 0
    tiny_base.eos_ids.add(token.token_id)
    try:
        decoder.add(prompts[:1], [GREEDY], [None])
        assert [t.finish for t in decoder.step()] == ["stop"]
    finally:
        tiny_base.eos_ids.discard(token.token_id)
        tiny_base.eos_ids.add(tiny_base.end_of_turn_id)


def test_bad_settings_and_prompts_are_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(Invalid, match="temperature"):
        SamplingSettings(temperature=3)
    with pytest.raises(Invalid, match="top_p"):
        SamplingSettings(top_p=0)
    with pytest.raises(Invalid, match="max_tokens"):
        SamplingSettings(max_new_tokens=0)
    with pytest.raises(Invalid, match="512 tokens"):
        Decoder(tiny_base).add([[1] * 512], [GREEDY], [None])


def test_a_reply_never_outgrows_the_context(tiny_base: BaseModel) -> None:
    decoder = Decoder(tiny_base)
    decoder.add([[5] * 505], [SamplingSettings(temperature=0.0, max_new_tokens=100)], [None])
    steps = 0
    while decoder.active:
        decoder.step()
        steps += 1
    assert steps <= 7
