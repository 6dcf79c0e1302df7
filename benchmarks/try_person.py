"""One simulated person against a running Attune: chat, feedback, one update, and the same prompts before and after.

    python launch.py --no-browser --home DIR          (in another terminal)
    python -m benchmarks.try_person --person closing-question --pieces 40 --max-tokens 96

Everything goes through the public HTTP interface. Prints one JSON object: what the person's own utility says of replies
to prompts that were never rated, trained on or used by the gate, before and after, and the run's report.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import mean, median
from typing import Any

import httpx

from assistant.page.real_page import ended
from benchmarks.people.simulated import (
    Person,
    RatesAtRandom,
    WantsClosingQuestion,
    WantsShort,
    rate,
    word_count,
)
from data.prompts import general_prompts

PEOPLE: dict[str, Person] = {
    "short": WantsShort(),
    "closing-question": WantsClosingQuestion(),
    "random": RatesAtRandom(),
}


def measured(client: httpx.Client, person: Person, model: str, prompts: list[str], max_tokens: int) -> dict[str, float]:
    """The person's utility of one sampled reply to each prompt (the same seeds for every model)."""
    said: list[tuple[str, bool]] = []
    for seed, prompt in enumerate(prompts):
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
        response = client.post("/v1/chat/completions", json={**body, "seed": seed, "store": False})
        response.raise_for_status()
        choice = response.json()["choices"][0]
        said.append((choice["message"]["content"], choice["finish_reason"] == "stop"))
    return {
        "utility": round(mean(person.utility(text, finished) for text, finished in said), 3),
        "pleased_share": mean(person.utility(text, finished) > 0 for text, finished in said),
        "median_words": float(median(word_count(text) for text, _ in said)),
        "ended_share": mean(finished for _, finished in said),
    }


def learn(client: httpx.Client) -> dict[str, Any]:
    run = client.post("/v1/learner/run", json={}).raise_for_status().json()
    return ended(client, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--person", choices=sorted(PEOPLE), required=True)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--max-tokens", type=int, default=96)
    options = parser.parse_args()
    person = PEOPLE[options.person]
    prompts = general_prompts("spare")[: options.prompts]
    with httpx.Client(base_url=options.url, timeout=300, trust_env=False) as client:
        before = measured(client, person, "base", prompts, options.max_tokens)
        given = rate(client, person, general_prompts("rollout"), options.pieces, options.max_tokens)
        began = time.monotonic()
        run = learn(client)
        minutes = (time.monotonic() - began) / 60
        after = measured(client, person, "attune", prompts, options.max_tokens)
    found = {
        "person": person.name,
        "feedback": given,
        "before": before,
        "after": after,
        "state": run["state"],
        "reason": run["reason"],
        "minutes": round(minutes, 1),
        "report": run["report"],
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
