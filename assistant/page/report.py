"""What an update did, in plain words: an update's report (plain values, see learner/update.py) as sentences.

A sentence is `{"say": English with {placeholders}, "with": their values}`: the page puts it into its language. What
is missing in a report (an older one, an import), or is no number where one should be, leaves its sentence out: only
numbers and texts go into a view, in which an object could name a file for Gradio to fetch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data.reports import is_number

Report = Mapping[str, Any]
Sentence = dict[str, Any]


REFUSALS = {
    "not shown to be better": "It did not go live: it is not certain enough that you would like it better.",
    "nats a reply from the base": "It did not go live: it had moved too far from the base model.",
    "perplexity": "It did not go live: ordinary text came out worse than with the base model.",
    "end by themselves": "It did not go live: too many of its replies no longer came to an end.",
    "repeat themselves": "It did not go live: it repeated itself.",
}  # what the gate says: what that means


def story(report: Report) -> list[Sentence]:
    """From the ratings to the gate, in the order in which it happened."""
    steps = (_feedback, _muted, _evidence, _change, _warm_start, _practice, _gate, _replies, _time)
    return [sentence for step in steps for sentence in step(report)]


def verdict(state: str, reason: str, report: Report) -> Sentence:
    """Why an update ended as it did. `reason` is the learner's own sentence, exact and full of figures; the first
    words of a refusal name the check that failed (learner/evaluation/gate.py)."""
    if not reason:  # no run of this home: an import
        return _say("")
    if state == "promoted":
        rate = _number(_part(report, "policy"), "win_rate")
        if rate is not None:
            return _say(
                "It went live: judged by all your ratings, it beats the version before in {percent} % of comparisons.",
                percent=round(100 * rate),
            )
        return _say("It went live.")
    if state == "rejected":
        return next((_say(plain) for words, plain in REFUSALS.items() if words in reason), _say(reason))
    if state == "abstained":
        if "too few" in reason:
            ratings = _number(_part(report, "evidence"), "observations") or 0
            return _say("Nothing was learnt: {n} ratings are too few to tell what you like.", n=ratings)
        if "chance" in reason:
            return _say(
                "Nothing was learnt: your ratings show no pattern yet. More ratings, or clearer ones, help."
            )
    return _say(reason or state)


def compared(old: int, new_preferred: int, old_preferred: int, taken_back: bool) -> Sentence:
    """What the comparisons of a promoted version with the one before it, `old`, said."""
    if taken_back:
        return _say("It was taken back by itself: in comparisons you preferred version {old}.", old=old)
    return _say(
        "Some comparisons hold replies of version {old} too: you preferred the new one {for_new} times, the old one "
        "{for_old} times. If the old one is clearly better, it comes back by itself.",
        old=old, for_new=new_preferred, for_old=old_preferred,
    )  # fmt: skip


def _say(text: str, **values: Any) -> Sentence:
    return {"say": text, "with": values}


def _feedback(report: Report) -> Iterator[Sentence]:
    found = _part(report, "feedback")
    train, held_out, left_out = (_number(found, name) for name in ("train", "held_out", "left_out"))
    if train is not None:
        yield _say(
            "It learnt from {train} ratings, kept {held_out} aside to check itself, and left {left_out} out.",
            train=train, held_out=held_out or 0, left_out=left_out or 0,
        )  # fmt: skip


def _muted(report: Report) -> Iterator[Sentence]:
    found = report.get("muted")
    number = len(found) if isinstance(found, list) else 0
    if number == 1:
        yield _say("One thing that you switched off had no say.")
    elif number:
        yield _say("{n} things that you switched off had no say.", n=number)


def _evidence(report: Report) -> Iterator[Sentence]:
    found = _part(report, "evidence")
    if "learnable" not in found:
        return
    if found["learnable"]:
        yield _say("Your ratings follow a pattern: what you rate can be predicted better than by chance.")
    else:
        yield _say("It found no pattern in your ratings that is more than chance, so it stopped there.")


def _change(report: Report) -> Iterator[Sentence]:
    newer = _number(_part(report, "change_of_taste"), "newer")
    if newer is not None:
        yield _say("Your taste seems to have changed {n} ratings ago: what is older counted less.", n=newer)


def _warm_start(report: Report) -> Iterator[Sentence]:
    found = _part(report, "warm_start")
    shown = _number(found, "demonstrations")
    if shown is None:
        return
    if _number(found, "steps"):
        yield _say("First it imitated {n} of your edits and best-rated replies.", n=shown)
    else:
        yield _say("There were too few edits and five-star replies to imitate ({n}).", n=shown)


def _practice(report: Report) -> Iterator[Sentence]:
    found = _part(report, "ppo")
    rounds = _number(found, "iterations")
    if rounds is None and "ppo" in report:
        rounds = 0
    first, last = (_number(_part(found, key), "objective/scores") for key in ("first", "last"))
    # of the first step, whose own scores are the base's
    after = _number(_part(found, "last"), "practice/scores_after")
    last = last if after is None else after
    if rounds and first is not None and last is not None:
        yield _say(
            "Then it practised {n} rounds: what you would give its replies went from {first} to {last} "
            "(0 is the base model's average).",
            n=rounds, first=f"{first:+.2f}", last=f"{last:+.2f}",
        )  # fmt: skip
    elif rounds == 0:
        yield _say("There was no time left to practise.")
    kept = _number(found, "share_kept")
    if kept is not None and kept < 1:
        yield _say(
            "Of the change {percent} % was kept, so that it writes as soundly as the base.",
            percent=round(100 * kept),
        )


def _gate(report: Report) -> Iterator[Sentence]:
    rate, lower = (_number(_part(report, "policy"), name) for name in ("win_rate", "win_rate_lower"))
    if rate is not None and lower is not None:
        yield _say(
            "In the final check its replies beat those of the version before in {percent} % of comparisons, "
            "surely in at least {lower} %.",
            percent=round(100 * rate), lower=round(100 * lower),
        )  # fmt: skip


def _replies(report: Report) -> Iterator[Sentence]:
    now, before = (_number(_part(report, name), "median_words") for name in ("policy", "base"))
    if now is not None and before is not None:
        yield _say(
            "A usual reply has {now} words now; the base model's has {before}.",
            now=round(now),
            before=round(before),
        )


def _time(report: Report) -> Iterator[Sentence]:
    seconds = _number(report, "seconds")
    if seconds is not None:
        yield _say("It took {minutes} minutes.", minutes=f"{seconds / 60:.1f}")


def figures(report: Report, prefix: str = "") -> list[dict[str, str]]:
    """The numbers of a report as rows {name, value}, nested names joined by " / ": for who wants them raw."""
    rows: list[dict[str, str]] = []
    for name, value in report.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += figures(value, f"{label} / ")
        elif isinstance(value, bool):
            rows.append({"name": label, "value": "yes" if value else "no"})
        elif is_number(value):
            rows.append({"name": label, "value": f"{value:.4g}"})
        elif _is_interval(value):
            rows.append({"name": label, "value": f"{value[0]:.3g} to {value[1]:.3g}"})
    return rows


def _is_interval(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(map(is_number, value))


def _part(report: Report, name: str) -> Report:
    found = report.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(part: Report, name: str) -> float | None:
    found = part.get(name)
    return found if is_number(found) else None
