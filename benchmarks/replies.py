"""Replies that the base model itself wrote to the project's own prompts, with what the base makes of them.

They are drawn as training draws its rollouts, without any filter: text, mean log-probability, log-probability of the
question given the reply. Those of the embedded model stand in `STORED`, so that simulated people are the same on every
machine. `bank(...)` reads them there; of another model, or with mean hidden states of a few layers, it samples them
once and keeps them under build/. Sampling is resumable and takes half an hour to an hour of two cores. With `--store`
this module samples the embedded model's and writes `STORED` anew: needed where the project's prompts have changed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from data.home import CHECKOUT, Home
from data.prompts import prompt_table
from data.row_files import read_rows, write_rows
from data.types import Reply, Turn
from learner.config import PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.modeling.embedded import EMBEDDED, WHEEL_SHA256
from learner.modeling.loading import load_base
from learner.policy.rollouts import sample_replies
from learner.policy.sequences import batch_sequences, logprobs_of_states

SEED = 20261122
PROMPTS = 176  # of the project's own, drawn from all kinds
REPLIES = 8  # to each prompt
PROMPTS_AT_ONCE = 16
ROWS_AT_ONCE = 64  # that are sampled together
ROWS_A_PASS = 16
LAYERS = (0.3, 0.5, 0.75)  # depths, as shares of all layers, whose hidden states are kept
STORED = Path(__file__).with_name("replies-embedded.jsonl.gz")  # what it was made with, then one reply a line
# The question that a reply answers is asked for in these words; only differences within one prompt are used.
BACKWARDS = "Which question or request does this text answer?\n\n{reply}"


@dataclass(frozen=True)
class BankRow:
    """One reply. Log-probabilities are `measure`'s: nats a token, under the frozen base at temperature 1."""

    prompt: int  # index into the bank's prompts
    text: str
    finished: bool
    tokens: int
    reply_logprob: float  # of the reply after its prompt
    question_logprob: float  # of the prompt, after the reply


@dataclass(frozen=True)
class Bank:
    """`prompts` P with their `kinds`; `rows` N, those of one prompt next to each other; `hidden` (N, layers, H), where
    it was asked for."""

    prompts: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: tuple[BankRow, ...]
    hidden: npt.NDArray[np.float32] | None = None

    def of_prompt(self, prompt: int) -> list[int]:
        """Row numbers of one prompt's replies."""
        return [i for i, row in enumerate(self.rows) if row.prompt == prompt]

    def reply(self, row: int) -> Reply:
        return Reply(self.rows[row].text, self.rows[row].finished)

    def context(self, row: int) -> tuple[Turn, ...]:
        return (Turn("user", self.prompts[self.rows[row].prompt]),)


def bank(home: Home, model: str = EMBEDDED, quick: bool = False, with_hidden: bool = False) -> Bank:
    """The bank of this model, made or completed as needed; a quick one has an eighth of the prompts."""
    table = list(prompt_table())
    random.Random(SEED).shuffle(table)  # so that every part of it has every kind of prompt
    table = table[: PROMPTS // 8 if quick else PROMPTS]
    prompts, kinds = tuple(row["text"] for row in table), tuple(row["kind"] for row in table)
    if model == EMBEDDED and not with_hidden and (stored := _stored(prompts)) is not None:
        return Bank(prompts, kinds, stored)
    rows, hidden = _sampled(home, model, quick, prompts)
    return Bank(prompts, kinds, rows, hidden)


def _made_with(prompts: Sequence[str]) -> dict[str, object]:
    return {"model": WHEEL_SHA256, "seed": SEED, "temperature": PPOConfig().temperature, "prompts": list(prompts)}


def _stored(prompts: Sequence[str]) -> tuple[BankRow, ...] | None:
    """The stored replies to these prompts, the first ones of the bank; None where it was made with anything else."""
    if not STORED.exists():
        return None
    rows = read_rows(STORED)
    made_with = next(rows)
    if made_with | {"prompts": made_with["prompts"][: len(prompts)]} != _made_with(prompts):
        return None
    return tuple(BankRow(**row) for row in rows if row["prompt"] < len(prompts))


def store(found: Bank) -> None:
    """Write `STORED` anew."""
    write_rows(STORED, _made_with(found.prompts), (asdict(row) for row in found.rows))


def _sampled(
    home: Home, model: str, quick: bool, prompts: Sequence[str]
) -> tuple[tuple[BankRow, ...], npt.NDArray[np.float32]]:
    base: BaseModel | None = None
    rows: list[BankRow] = []
    hidden: list[npt.NDArray[np.float32]] = []
    name = f"{Path(model).stem}{'-quick' if quick else ''}"
    folder = CHECKOUT / "build" / "bench" / f"replies-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        written = folder / f"{start:04d}.jsonl"
        if not written.exists():
            base = base or load_base(model, home.models_dir, trainable=False)
            _write(base, prompts[start : start + PROMPTS_AT_ONCE], start, written)
            print(f"{min(start + PROMPTS_AT_ONCE, len(prompts))} of {len(prompts)} prompts answered", flush=True)
        with written.open(encoding="utf-8") as lines:  # by line ends alone: a reply may hold U+2028
            rows += [BankRow(**json.loads(line)) for line in lines]
        hidden.append(np.load(written.with_suffix(".npy"), allow_pickle=False).astype(np.float32))
    return tuple(rows), np.concatenate(hidden)


def _write(base: BaseModel, prompts: Sequence[str], first: int, path: Path) -> None:
    """Answer `prompts`, whose numbers begin at `first`; the rows' file comes last and says that both are whole."""
    queries = [base.encode_chat((Turn("user", prompt),)) for prompt in prompts for _ in range(REPLIES)]
    seeds = [SEED + first * REPLIES + i for i in range(len(queries))]
    settings = SamplingSettings(PPOConfig().temperature)
    rollouts = sample_replies(base, None, queries, settings, seeds, max_rows=ROWS_AT_ONCE)
    order = sorted(range(len(rollouts)), key=lambda i: len(rollouts[i].response))
    rows: list[BankRow | None] = [None] * len(rollouts)
    hidden: list[npt.NDArray[np.float16] | None] = [None] * len(rollouts)
    for start in range(0, len(order), ROWS_A_PASS):
        part = order[start : start + ROWS_A_PASS]
        forwards, states = measure(base, [queries[i] for i in part], [rollouts[i].response for i in part], LAYERS)
        asked = [prompts[i // REPLIES] for i in part]
        backwards, _ = measure(
            base,
            [base.encode_chat((Turn("user", BACKWARDS.format(reply=rollouts[i].reply.text)),)) for i in part],
            [base.encode_reply(question) for question in asked],
        )
        for n, i in enumerate(part):
            reply, length = rollouts[i].reply, len(rollouts[i].response)
            logprobs = round(forwards[n], 5), round(backwards[n], 5)
            rows[i] = BankRow(first + i // REPLIES, reply.text, reply.finished, length, *logprobs)
            hidden[i] = states[n]
    np.save(path.with_suffix(".npy"), np.stack([h for h in hidden if h is not None]))
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows if row is not None]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(lines), encoding="utf-8")
    partial.rename(path)


def is_new(tokens: Sequence[int]) -> list[bool]:
    """Of each token: does it complete three in a row that have not stood there before? The first two always do."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for i in range(len(tokens)):
        three = tuple(tokens[max(0, i - 2) : i + 1])
        found.append(three not in seen)
        seen.add(three)
    return found


@torch.inference_mode()
def measure(
    base: BaseModel, queries: Sequence[list[int]], responses: Sequence[list[int]], layers: Sequence[float] = ()
) -> tuple[list[float], npt.NDArray[np.float16]]:
    """Of each response under the plain base: mean log-probability of what is new, mean hidden states `(B, layers, H)`.

    What a model repeats is likely to it: with every token counted, a reply that goes round in circles would read best.
    `layers` are depths as shares of all layers (0.5: what comes out of the block after the first half), below 1.
    """
    batch = batch_sequences(queries, responses, base.pad_id, base.device)
    inputs = {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "position_ids")}
    out = base.hidden_states(**inputs, use_cache=False, output_hidden_states=True)
    rows = batch.response_mask.nonzero()[:, 0]
    last = out.last_hidden_state[rows, batch.predictor[batch.response_mask]]
    logprobs = logprobs_of_states(base, last, batch, temperature=1.0)
    new = torch.zeros_like(logprobs)
    for row, response in enumerate(responses):
        new[row, : len(response)] = torch.tensor(is_new(response), dtype=new.dtype)
    means = ((logprobs * new).sum(-1) / new.sum(-1)).tolist()
    blocks = len(out.hidden_states) - 1  # the first one is of the embeddings
    kept = np.zeros((len(queries), len(layers), last.shape[-1]), dtype=np.float16)
    for i, share in enumerate(layers):
        states = out.hidden_states[round(share * blocks) + 1].float()
        for row, (query, response) in enumerate(zip(queries, responses, strict=True)):
            kept[row, i] = states[row, len(query) : len(query) + len(response)].mean(0).cpu().numpy()
    return means, kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sample the embedded model's bank of replies now.")
    parser.add_argument("--home")
    parser.add_argument("--quick", action="store_true", help="an eighth of the prompts")
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name} anew")
    given = parser.parse_args()
    if given.store and given.quick:
        parser.error("--store takes the whole bank")
    sampled = bank(Home.locate(given.home), quick=given.quick, with_hidden=True)
    if given.store:
        store(sampled)
    print(f"{len(sampled.rows)} replies to {len(sampled.prompts)} prompts")
