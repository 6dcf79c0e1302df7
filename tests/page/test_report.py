"""What an update did and why it ended, in words that need no explanation."""

from __future__ import annotations

import zlib

from assistant.page.report import figures, story, verdict
from data.types import Message
from learner.config import GateConfig
from learner.evaluation import gate


def said(sentences: list[dict[str, object]]) -> list[str]:
    return [str(one["say"]).format(**one["with"]) for one in sentences]  # type: ignore[arg-type]


def test_what_a_report_lacks_is_left_out() -> None:
    assert story({}) == []
    assert said(story({"seconds": 90})) == ["It took 1.5 minutes."]
    broken = {"feedback": "?", "ppo": None, "policy": [], "seconds": "long"}
    assert said(story(broken)) == ["There was no time left to practise."]


def test_the_first_step_alone_is_told_by_what_it_came_to() -> None:
    """Its own scores are of the base's replies; what the policy then says has another name."""
    first = {"objective/scores": 0.1, "practice/scores_after": 0.8}
    line = "Then it practised {} rounds: what you would give its replies went from +0.10 to {}"
    line += " (0 is the base model's average)."
    assert said(story({"ppo": {"iterations": 1, "first": first, "last": first}})) == [line.format(1, "+0.80")]
    later = {"iterations": 3, "first": first, "last": {"objective/scores": 0.9}}
    assert said(story({"ppo": later})) == [line.format(3, "+0.90")]


def test_an_update_that_abstained_says_only_what_it_did() -> None:
    report = {
        "feedback": {"train": 5, "held_out": 1, "left_out": 0},
        "evidence": {"learnable": False, "observations": 6, "p_value": 0.4},
    }
    lines = said(story(report))
    assert len(lines) == 2 and lines[1].startswith("It found no pattern")
    few = verdict(
        "abstained", "Nothing was learnt: 6 ratings in 2 conversations are too few to tell.", report
    )
    assert said([few]) == ["Nothing was learnt: 6 ratings are too few to tell what you like."]


def test_every_refusal_of_the_gate_has_words_of_its_own() -> None:
    config = GateConfig()
    sane = gate.Sanity(0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    refusals = [
        gate.is_better(gate.WinRate(0.55, 0.4, 0.7), config),
        gate.is_sane(gate.Sanity(1e6, 0, 0, 1, 1, 1), config),
        gate.is_sane(gate.Sanity(0, 9, 0, 1, 1, 1), config),
        gate.is_sane(gate.Sanity(0, 0, 9, 1, 1, 1), config),
        gate.is_sane(gate.Sanity(0, 0, 0, 0, 1, 1), config),
        gate.is_sane(gate.Sanity(0, 0, 0, 1, 1, 0), config),
    ]
    assert gate.is_sane(sane, config) is None
    plain = [verdict("rejected", f"Rejected: {refusal}.", {})["say"] for refusal in refusals]
    assert all(line.startswith("It did not go live: ") for line in plain)
    assert len(set(plain)) == 5  # the two perplexities are one thing to a person


def test_figures_are_rows_of_everything_that_is_a_number() -> None:
    rows = figures(
        {"policy": {"win_rate": 0.81234}, "evidence": {"learnable": True}, "why": "x", "range": [0.1, 0.2]}
    )
    assert rows == [
        {"name": "policy / win rate", "value": "0.8123"},
        {"name": "evidence / learnable", "value": "yes"},
        {"name": "range", "value": "0.1 to 0.2"},
    ]


def test_about_one_complete_reply_in_six_comes_with_an_offer() -> None:
    from assistant.page.offers import is_offered
    from data.ids import new_id

    on = {"offer_comparisons": True, "learning": True}

    def reply(finish: str = "stop", content: str = "x") -> Message:
        return Message(new_id(), "c", None, "assistant", content, "", finish)  # type: ignore[arg-type]

    offered = sum(is_offered(reply(), on) for _ in range(6000))
    assert 850 < offered < 1150  # 1000 expected, sd 29
    made = next(one for one in iter(reply, None) if is_offered(one, on))
    assert not is_offered(made, {**on, "offer_comparisons": False})
    assert not is_offered(made, {**on, "learning": False})
    assert not any(
        is_offered(reply("cancelled"), on) or is_offered(reply("stop", " "), on) for _ in range(200)
    )


def test_where_a_model_is_live_the_offer_comes_where_it_is_least_sure() -> None:
    from assistant.page.offers import is_offered

    on = {"offer_comparisons": True, "learning": True}
    # Ids whose lot is 1 are offered by no lot: neither one in six nor one in sixty.
    ids = (f"reply {i}" for i in range(1000))
    unlucky = next(i for i in ids if zlib.crc32(i.encode()) % 60 == 1)
    reply = Message(unlucky, "c", None, "assistant", "x", "", "stop")
    assert is_offered(reply, on, [0.9, 0.1, 0.8, 0.3, 0.2, 0.5])
    assert not is_offered(reply, on, [0.7, 0.1, 0.8, 0.3, 0.2, 0.5])
    assert not is_offered(reply, on, [0.5] * 6), "all alike: none of them would teach more"
    assert not is_offered(reply, on, [0.9, 0.1]), "too few to tell"
    assert not is_offered(reply, {**on, "learning": False}, [0.9, 0.1, 0.8, 0.3, 0.2, 0.5])


def test_what_was_switched_off_is_told() -> None:
    assert said(story({"muted": ["emoji"]})) == ["One thing that you switched off had no say."]
    assert said(story({"muted": ["emoji", "code"]})) == ["2 things that you switched off had no say."]
    assert story({"muted": []}) == []


def test_a_change_of_taste_is_told() -> None:
    change = {"newer": 45, "older": 105, "old_weight": 0.1, "gain": 6.0, "since": "x"}
    (line,) = said(story({"change_of_taste": change}))
    assert line == "Your taste seems to have changed 45 ratings ago: what is older counted less."
    assert story({"change_of_taste": None}) == []
