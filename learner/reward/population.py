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
    "log_length": (4.444, 0.611, 1.08),
    "brevity": (0.06886, 0.2886, 1.24),
    "sentence_length": (2.709, 0.4371, 2),
    "paragraphs": (1.24, 0.4272, 1.39),
    "bullets": (0.04213, 0.3359, 20),
    "numbered_steps": (0.1668, 0.5095, 1.36),
    "headings": (0.06916, 0.2335, 12.2),
    "emphasis": (0.07433, 0.3192, 20),
    "code": (0.02795, 0.1239, 0.25),
    "emoji": (0.01918, 0.1966, 20),
    "exclamations": (0.02804, 0.1131, 1.85),
    "closing_question": (0.03365, 0.1813, 1.73),
    "questions": (0.01817, 0.06193, 6.99),
    "second_person": (1.872, 2.751, 1.07),
    "first_person": (1.326, 2.202, 1.05),
    "hedges": (0.4822, 0.8913, 1.64),
    "formal": (0.5261, 0.8186, 2.88),
    "casual": (0.3526, 0.6843, 20),
    "contractions": (1.884, 2.43, 0.957),
    "long_words": (0.121, 0.06911, 0.899),
    "warmth": (0.5441, 1.037, 1.03),
    "intensifiers": (0.2878, 0.5814, 7.38),
    "greeting": (0.02885, 0.1682, 2.12),
    "closing_offer": (0.04327, 0.204, 20),
    "examples": (0.1806, 0.3705, 9.2),
    "figures": (1.427, 3.641, 1.5),
    "clauses": (0.6568, 0.4309, 2.42),
    "asides": (0.5468, 1.734, 0.541),
    "quotations": (0.6328, 2.414, 15.8),
    "directives": (0.8555, 1.271, 1.51),
    "disclaimers": (0.02333, 0.143, 1.78),
    "reasons": (0.1274, 0.3342, 1.4),
    "sequence": (0.1835, 0.4294, 3.03),
    "imagery": (0.1149, 0.3192, 4.92),
    "chinese": (0.08073, 0.2714, 0.25),
    "other_language": (0.01543, 0.1162, 2.68),
    "repetition": (0.0668, 0.09154, 4.74),
    "echo": (0.5049, 0.2876, 1.32),
    "finished": (0.351, 0.4797, 1.73),
}
# end measured table
