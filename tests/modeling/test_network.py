"""Our own forward pass against transformers', and what it makes possible: company, pieces, prefixes, adapters a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from data.errors import Invalid
from data.types import Turn
from learner.config import LoraSettings
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.modeling.decode import Decoder, ReadFailed, SamplingSettings
from learner.modeling.embedded import EMBEDDED_FOLDER
from learner.modeling.key_values import PrefixCache
from learner.modeling.loading import load_base
from learner.modeling.network import Network, Part
from learner.modeling.weights import Weights
from learner.policy.rollouts import sample_replies
from learner.policy.sequences import batch_sequences
from tests.modeling.reference import transformers_logprobs
from tests.modeling.test_decode import run
from tests.tiny_models import ARCHITECTURES, MORE_ARCHITECTURES, save_tiny_model

GREEDY = SamplingSettings(temperature=0.0, max_new_tokens=12)
TEXTS = ("Hello!", "Tell me about the sea and the ships on it, please.", "Why?", "Count to three.")


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES | MORE_ARCHITECTURES))
def any_base(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> BaseModel:
    """A tiny float32 model of each architecture with adapters of different rank; one changes the last blocks alone."""
    folder = tmp_path_factory.mktemp("any") / request.param
    save_tiny_model(request.param, folder, models_dir / EMBEDDED_FOLDER)
    base = load_base(
        str(folder), folder.parent / "models", device="cpu", weights="dequantised", dtype=torch.float32
    )
    assert (base.network is None) == (request.param == "gemma")
    for name, rank, trained in (("small", 2, 1.0), ("large", 6, 1.0), ("late", 3, 0.5)):
        base.add_adapter(name, LoraSettings(rank, 8.0, trained))
        generator = torch.Generator().manual_seed(rank)
        with torch.no_grad():
            for parameter in base.adapter_parameters(name):
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return base


@pytest.fixture(scope="module")
def llama(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """A tiny float32 model that only serves."""
    folder = tmp_path_factory.mktemp("serving") / "llama"
    save_tiny_model("llama", folder, models_dir / EMBEDDED_FOLDER)
    return load_base(
        str(folder), folder.parent / "models", device="cpu", weights="dequantised", dtype=torch.float32,
        trainable=False,
    )  # fmt: skip


def prompts(base: BaseModel, texts: Sequence[str] = TEXTS) -> list[list[int]]:
    return [base.encode_chat([Turn("user", text)]) for text in texts]


@pytest.mark.parametrize("adapter", [None, "small", "large", "late"])
def test_log_probabilities_are_those_of_transformers_and_peft(
    any_base: BaseModel, adapter: str | None
) -> None:
    settings = SamplingSettings(temperature=1.0, max_new_tokens=20)
    rollouts = sample_replies(any_base, adapter, prompts(any_base), settings, seeds=range(4))
    batch = batch_sequences(
        [r.query for r in rollouts], [r.response for r in rollouts], any_base.pad_id, any_base.device
    )
    with torch.no_grad():
        expected = transformers_logprobs(any_base, adapter, batch, 1.0)
    for i, rollout in enumerate(rollouts):
        found = torch.tensor(rollout.sampler_logprobs)
        assert torch.allclose(found, expected[i, : len(found)], atol=2e-3)
        assert found.min() < -0.01  # it had something to choose


def test_company_of_other_adapters_changes_nothing(any_base: BaseModel) -> None:
    adapters = ["large", None, "small", "late"]
    ids = prompts(any_base)
    alone = [run(Decoder(any_base), [p], [GREEDY], [a])[0] for p, a in zip(ids, adapters, strict=True)]
    assert run(Decoder(any_base), ids, [GREEDY] * 4, adapters) == alone
    assert run(Decoder(any_base), ids, [GREEDY] * 4, adapters, pause=2) == alone
    assert run(Decoder(any_base, read_at_once=3), ids, [GREEDY] * 4, adapters, pause=2) == alone
    assert (
        len(
            {
                tuple(reply)
                for reply in (run(Decoder(any_base), ids[:1], [GREEDY], [a])[0] for a in set(adapters))
            }
        )
        == 4
    )


def test_rows_that_leave_in_the_middle_take_nothing_along(any_base: BaseModel) -> None:
    ids, adapters = prompts(any_base), ["large", None, "small", "large"]
    alone = [run(Decoder(any_base), [p], [GREEDY], [a])[0] for p, a in zip(ids, adapters, strict=True)]
    for leaving in range(4):
        decoder = Decoder(any_base)
        handles = decoder.add(ids, [GREEDY] * 4, adapters)
        said: dict[int, list[int]] = {handle: [] for handle in handles}
        for number in range(30):
            if number == 3:
                decoder.remove(handles[leaving])
            for token in decoder.step():
                said[token.row].append(token.token_id)
        assert [said[h] for i, h in enumerate(handles) if i != leaving] == [
            reply for i, reply in enumerate(alone) if i != leaving
        ]


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens of prompts each pass reads."""
    read = Network.read
    counted: list[int] = []

    def spy(self: Network, parts: Sequence[Part], *args: object) -> torch.Tensor:
        counted.append(sum(len(part.tokens) for part in parts))
        return read(self, parts, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "read", spy)
    return counted


def say(decoder: Decoder, ids: list[int], scope: object, adapter: str | None = None) -> list[int]:
    decoder.add([ids], [GREEDY], [adapter], [scope])  # type: ignore[list-item]
    said = []
    while decoder.active:
        said += [token.token_id for token in decoder.step()]
    return said


def test_a_conversation_that_goes_on_is_not_read_again(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, more = prompts(llama, ["Tell me about the sea."])[0], prompts(llama, ["And the ships?"])[0]
    reply = say(Decoder(llama), first, None)
    second = first + reply + more
    fresh = say(Decoder(llama), second, None)

    counted = counting(monkeypatch)
    decoder = Decoder(llama, prefixes=PrefixCache(10**8))
    assert say(decoder, first, "ann") == reply
    assert say(decoder, second, "ann") == fresh
    # The last token of the reply was drawn and never computed; everything before it is known.
    assert counted == [len(first), len(second) - len(first) - len(reply) + 1]
    counted.clear()
    assert say(decoder, second, "bob") == fresh
    assert say(decoder, second, None) == fresh
    assert counted == [len(second)] * 2
    # The same question again is read in the same way again, so that rounding cannot give it another reply.
    for ids, read in ((first, len(first)), (second, len(second) - len(first) - len(reply) + 1)):
        counted.clear()
        say(decoder, ids, "ann")
        assert counted == [read]


def test_prefixes_of_another_adapter_do_not_count(llama: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    [ids] = prompts(llama, ["Tell me about the sea."])
    with_adapter(llama, "ann's")
    decoder = Decoder(llama, prefixes=PrefixCache(10**8))
    plain = say(decoder, ids, "ann")
    counted = counting(monkeypatch)
    assert say(decoder, ids, "ann", "ann's") != plain
    assert counted == [len(ids)]
    llama.remove_adapter("ann's")


def test_prefixes_keep_to_their_bound_and_the_oldest_leave() -> None:
    cache = PrefixCache(1000)
    state = torch.zeros(1, 1, 10, 10)  # 400 bytes
    for name in ("a", "b"):
        cache.put(name, [1, 2, 3], 1, state)
    assert cache.longest("a", [1, 9])[0] == 0  # begins alike, and does not go on from the reply
    assert cache.longest("a", [1, 2, 9])[0] == 2  # used: now b is the older one
    cache.put("c", [1, 2], 1, state)
    assert cache.size_bytes == 800
    assert [cache.longest(name, [1, 2, 3])[0] for name in "abc"] == [3, 0, 2]
    cache.put("d", [1, 2], 1, torch.zeros(2000))
    assert cache.size_bytes == 0


def test_long_prompts_are_read_in_pieces_between_the_others_tokens(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = prompts(llama, ["sea " * 120])[0], prompts(llama, ["Hi"])[0]
    expected = say(Decoder(llama), long, None)
    counted = counting(monkeypatch)
    decoder = Decoder(llama, read_at_once=16)
    first = decoder.add([short], [SamplingSettings(temperature=0.0, max_new_tokens=40)], [None])[0]
    decoder.step()
    [second] = decoder.add([long], [GREEDY], [None])
    said: dict[int, list[int]] = {first: [], second: []}
    before_second = 0
    while decoder.active:
        tokens = decoder.step()
        for token in tokens:
            said[token.row].append(token.token_id)
        before_second += not said[second] and any(token.row == first for token in tokens)
    assert max(counted[1:]) == 16 and sum(counted[1:]) == len(long)
    assert before_second >= len(long) // 16 - 1  # somebody else wrote on meanwhile
    assert said[second] == expected


def test_a_prompt_that_cannot_be_read_takes_only_its_own_row(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = prompts(llama)
    decoder = Decoder(llama)
    decoder.add(ids[:1], [GREEDY], [None])
    said = [token.token_id for token in decoder.step()]
    [bad] = decoder.add(ids[1:2], [GREEDY], [None])
    with monkeypatch.context() as patch, pytest.raises(ReadFailed, match="no memory") as error:
        patch.setattr(Network, "read", lambda *args: (_ for _ in ()).throw(RuntimeError("no memory")))
        decoder.step()
    assert error.value.rows == [bad]
    while decoder.active:
        said += [token.token_id for token in decoder.step()]
    assert said == say(Decoder(llama), ids[0], None)


def with_adapter(base: BaseModel, name: str, folder: Path | None = None) -> lora.State:
    generator = torch.Generator().manual_seed(5)
    state = {}
    for path, (out_features, in_features) in base.spec.linear_shapes.items():
        state[f"base_model.model.{path}.lora_A.weight"] = torch.randn(4, in_features, generator=generator) / 8
        state[f"base_model.model.{path}.lora_B.weight"] = (
            torch.randn(out_features, 4, generator=generator) / 8
        )
    settings = LoraSettings(rank=4, alpha=8.0)
    if folder is None:
        base.add_adapter(name, settings, state)
    else:
        lora.save_adapter(folder, state, settings, base.spec.id, base.adapter_targets())
        base.load_adapter(name, folder)
    return state


def test_a_model_that_only_serves_holds_adapters_beside_it(llama: BaseModel, tmp_path: Path) -> None:
    [ids] = prompts(llama, ["Tell me about the sea."])
    modules = [type(module) for module in llama.model.modules()]
    state = with_adapter(llama, "beside", tmp_path / "adapter")
    assert [type(module) for module in llama.model.modules()] == modules  # PEFT would have wrapped them
    assert all(torch.equal(value, state[key]) for key, value in llama.adapter_state("beside").items())
    said = say(Decoder(llama), ids, None, "beside")
    llama.remove_adapter("beside")
    assert "beside" not in llama.adapter_names()
    with pytest.raises(Invalid, match="no adapter 'beside'"):
        Decoder(llama).add([ids], [GREEDY], ["beside"])
    with_adapter(llama, "wrapped")  # the same adapter through PEFT
    assert say(Decoder(llama), ids, None, "wrapped") == said != say(Decoder(llama), ids, None)
    llama.remove_adapter("wrapped")


@pytest.mark.parametrize("weights", ["dequantised", "4bit"])
def test_quick_weights_say_what_the_quantised_model_says(models_dir: Path, weights: Weights) -> None:
    """The packed products and the int8 output layer against the same NF4 values in float32, on the embedded model."""
    serving = load_base(
        "embedded", models_dir, device="cpu", weights=weights, trainable=False, dtype=torch.bfloat16
    )
    exact = load_base("embedded", models_dir, device="cpu", weights="dequantised", dtype=torch.float32)
    ids = prompts(exact, ["Tell me about the sea and the ships on it."])[0]
    reply = say(Decoder(exact), ids, None)
    divergence = []
    for base in (serving, exact):
        assert base.network is not None
        cache, logits = base.network.key_values(), []
        with torch.inference_mode():
            logits.append(base.network.read([Part(0, 0, ids)], cache, None))
            logits += [base.network.step([t], [len(ids) + i], cache, None) for i, t in enumerate(reply)]
        divergence.append(torch.log_softmax(torch.cat(logits), dim=-1))
    found, expected = divergence
    kl = (expected.exp() * (expected - found)).sum(-1)
    print(
        f"KL of the served to the exact distribution: mean {kl.mean():.5f}, largest {kl.max():.5f} nats a token"
    )
    assert kl.mean() < 0.005
