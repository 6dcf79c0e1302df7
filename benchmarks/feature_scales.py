"""Measure the population values of the style features on replies that the base model really writes.

    python -m benchmarks.feature_scales --model DIR [--prompts 52] [--replies 4] [--write]

Samples replies to general rollout prompts at temperature 0.7 (plain sampling, at most 160 new tokens) and
prints, for each feature, its mean, its spread, and how much steadier a prompt's own mean is than one reply
(learner/reward/population.py says how they are used). `--write` replaces the table in that file.
`--cache FILE` keeps the sampled replies (JSON lines), so that new features need no new sampling.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from data.prompts import general_prompts
from data.types import Reply, Turn

MAX_NEW_TOKENS = 160
BATCH = 16
SEED = 20261122


def sample_replies(model_dir: str, prompts: list[str], replies: int) -> list[dict[str, object]]:
    """Rows {prompt, text, finished}: `replies` samples for each prompt, in order."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.bfloat16).eval()
    eos = tokenizer.eos_token_id
    jobs = [prompt for prompt in prompts for _ in range(replies)]
    order = sorted(range(len(jobs)), key=lambda i: len(jobs[i]))  # similar lengths share a batch
    rows: list[dict[str, object]] = [{}] * len(jobs)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        chats = [[{"role": "user", "content": jobs[i]}] for i in chunk]
        batch = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            out = model.generate(
                **batch, do_sample=True, temperature=0.7, top_p=1.0, top_k=0, repetition_penalty=1.0,
                max_new_tokens=MAX_NEW_TOKENS, pad_token_id=tokenizer.pad_token_id,
            )
        for i, ids in zip(chunk, out[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
            finished = eos in ids
            text = tokenizer.decode(ids[: ids.index(eos)] if finished else ids, skip_special_tokens=True)
            rows[i] = {"prompt": jobs[i], "text": text.strip(), "finished": finished}
        print(f"{min(start + BATCH, len(order))} of {len(order)} replies", flush=True)
    return rows


def measure(rows: list[dict[str, object]], replies: int) -> list[tuple[str, float, float, float]]:
    """(name, mean, spread, strength) for each feature, as population.py defines them."""
    from learner.reward.features import FEATURE_NAMES, features

    phi = np.array(
        [
            features((Turn("user", str(r["prompt"])),), Reply(str(r["text"]), bool(r["finished"])))
            for r in rows
        ]
    ).reshape(-1, replies, len(FEATURE_NAMES))
    mean = phi.mean(axis=(0, 1))
    within = phi.var(axis=1, ddof=1).mean(axis=0)
    between = np.maximum(phi.mean(axis=1).var(axis=0, ddof=1) - within / replies, 0.0)
    spread = np.sqrt(within + between)
    strength = np.clip(within / np.maximum(between, 1e-12), 0.25, 20.0)
    return [
        (name, float(m), float(s), float(k))
        for name, m, s, k in zip(FEATURE_NAMES, mean, spread, strength, strict=True)
    ]


def write_table(table: list[tuple[str, float, float, float]], path: Path) -> None:
    """Replace the lines between the two markers of population.py."""
    head, rest = path.read_text(encoding="utf-8").split("# begin measured table\n")
    tail = rest.split("# end measured table\n")[1]
    lines = [f'    "{name}": ({m:.4g}, {s:.4g}, {k:.3g}),\n' for name, m, s, k in table]
    body = "MEASURED: dict[str, tuple[float, float, float]] = {\n" + "".join(lines) + "}\n"
    path.write_text(f"{head}# begin measured table\n{body}# end measured table\n{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", help="folder of the base model (needed without a filled cache)")
    parser.add_argument("--prompts", type=int, default=52)
    parser.add_argument("--replies", type=int, default=4)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    prompts = general_prompts("rollout")
    prompts = [prompts[int(i)] for i in np.linspace(0, len(prompts) - 1, args.prompts)]
    if args.cache and args.cache.exists():
        rows = [json.loads(line) for line in args.cache.read_text(encoding="utf-8").splitlines()]
    else:
        rows = sample_replies(args.model, prompts, args.replies)
        if args.cache:
            args.cache.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    table = measure(rows, args.replies)
    for name, mean, spread, strength in table:
        print(f"{name:18s} mean {mean:8.3f}  spread {spread:7.3f}  strength {strength:6.2f}")
    if args.write:
        write_table(table, Path(__file__).parents[1] / "learner/reward/population.py")


if __name__ == "__main__":
    main()
