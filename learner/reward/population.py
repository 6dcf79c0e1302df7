"""Population values of the style features: what a typical reply of the base looks like.

MEASURED holds, for each feature, (mean, spread, strength) over replies that the embedded base wrote:
208 samples (52 general prompts, 4 each, temperature 0.7, at most 160 new tokens). They come from
`python -m benchmarks.feature_scales`, which prints and writes this table.

- spread: standard deviation over replies to all prompts.
- strength: variance within a prompt / variance between prompts = how many base replies the population mean
  is worth when a prompt's own mean is estimated (the usual empirical-Bayes shrinkage), kept in 0.25..20.

NOTICEABLE is the least difference that a reader would notice, in the feature's own unit. The scale of a
feature is the larger of the two: a base that never writes an emoji has a spread of nearly 0, and one emoji
must not count as fifty standard deviations.
"""

from __future__ import annotations

NOTICEABLE: dict[str, float] = {
    "log_length": 0.5,  # 65 % more words
    "brevity": 0.5,  # the same unit as log_length
    "sentence_length": 0.35,
    "paragraphs": 0.4,
    "bullets": 0.7,  # one bullet against none
    "numbered_steps": 0.7,
    "headings": 0.5,
    "emphasis": 0.7,
    "code": 0.15,  # share of the characters
    "emoji": 0.5,
    "exclamations": 0.12,  # share of the sentences
    "closing_question": 0.4,
    "questions": 0.12,
    "second_person": 1.5,  # rates: per 100 words
    "first_person": 1.5,
    "hedges": 1.0,
    "formal": 1.0,
    "casual": 1.0,
    "contractions": 1.0,
    "long_words": 0.06,  # share of the words
    "warmth": 1.0,
    "intensifiers": 1.0,
    "greeting": 0.4,
    "closing_offer": 0.4,
    "examples": 0.5,
    "figures": 1.5,
    "clauses": 0.3,
    "asides": 1.0,
    "quotations": 1.0,
    "directives": 1.0,
    "disclaimers": 0.5,
    "reasons": 0.5,
    "sequence": 0.5,
    "imagery": 0.5,
    "chinese": 0.3,
    "other_language": 0.3,
    "repetition": 0.1,
    "echo": 0.2,
    "finished": 0.4,
}

# begin measured table
MEASURED: dict[str, tuple[float, float, float]] = {
}
# end measured table
