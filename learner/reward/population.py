"""Population values of the style features: what a typical reply of the base looks like.

MEASURED holds, for each feature, (mean, spread, strength, weight sd) over replies that the embedded base wrote at the
chat's default settings: 528 samples, 8 to each of 66 of our prompts. They come from
`python -m benchmarks.reward.population --write`.

- spread: standard deviation over replies to all prompts.
- strength: variance within a prompt / variance between prompts = how many base replies the population mean
  is worth when a prompt's own mean is estimated (the usual empirical-Bayes shrinkage), kept in 0.25..20.
- weight sd: how widely people's weights are spread, from simulated people that no reported figure is about;
  mean square 1. What hardly ever differs between replies needs a larger weight to matter.

NOTICEABLE is the least difference that a reader would notice, in the feature's own unit. The scale of a
feature is the larger of the two: a base that never writes an emoji has a spread of nearly 0, and one emoji
must not count as fifty standard deviations.
"""

from __future__ import annotations

NOTICEABLE: dict[str, float] = {
    "log_length": 0.5,  # 65 % more words
    "brevity": 0.5,  # the same unit as log_length
    "over_20_words": 0.5,  # as log_length, from there on: so that a length can be liked best
    "over_80_words": 0.5,
    "over_130_words": 0.5,
    "sentence_length": 0.35,
    "over_12_word_sentences": 0.35,
    "over_20_word_sentences": 0.35,
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
MEASURED: dict[str, tuple[float, float, float, float]] = {
    "log_length": (4.754, 0.8163, 1.19, 1.97),
    "brevity": (0.08707, 0.3123, 2.49, 1.58),
    "over_20_words": (1.743, 0.7226, 1.18, 2.45),
    "over_80_words": (0.5693, 0.4137, 1.65, 1.57),
    "over_130_words": (0.2411, 0.229, 2.01, 2.01),
    "sentence_length": (2.904, 0.6221, 2.87, 0.637),
    "over_12_word_sentences": (0.4367, 0.4578, 3.99, 0.658),
    "over_20_word_sentences": (0.1496, 0.3362, 7.75, 0.532),
    "paragraphs": (1.333, 0.6133, 3.34, 0.504),
    "bullets": (0.02981, 0.2184, 20, 0.96),
    "numbered_steps": (0.1589, 0.5689, 3.21, 1.28),
    "headings": (0.05098, 0.2174, 1.87, 0.532),
    "emphasis": (0, 0, 0.25, 0.608),
    "code": (0.01411, 0.0865, 0.25, 0.975),
    "emoji": (0.00575, 0.0537, 20, 1.77),
    "exclamations": (0.03628, 0.112, 3.05, 1.17),
    "closing_question": (0.0322, 0.1769, 5.21, 1.38),
    "questions": (0.02176, 0.09831, 1.52, 0.515),
    "second_person": (2.637, 3.732, 1.24, 1.37),
    "first_person": (1.782, 3.091, 0.933, 0.511),
    "hedges": (0.5751, 1.079, 6.29, 0.75),
    "formal": (0.4394, 0.8607, 5.03, 0.492),
    "casual": (0.3966, 0.8275, 3.87, 0.49),
    "contractions": (1.479, 2.508, 1.37, 1.39),
    "long_words": (0.1207, 0.08031, 1.2, 0.491),
    "warmth": (0.4072, 0.9206, 3.35, 0.914),
    "intensifiers": (0.2006, 0.4947, 5.19, 0.5),
    "greeting": (0.07386, 0.2623, 2.2, 0.521),
    "closing_offer": (0.03788, 0.1911, 20, 0.559),
    "examples": (0.2043, 0.438, 4.47, 0.576),
    "figures": (1.871, 5.09, 3.34, 0.593),
    "clauses": (0.734, 0.5648, 4.89, 0.5),
    "asides": (0.571, 2.281, 2.77, 0.504),
    "quotations": (0.2671, 1.202, 3.06, 0.497),
    "directives": (1.04, 1.767, 1.33, 0.497),
    "disclaimers": (0.03019, 0.1417, 10.5, 0.519),
    "reasons": (0.131, 0.3505, 3.19, 0.496),
    "sequence": (0.226, 0.5157, 1.69, 0.66),
    "imagery": (0.1833, 0.4334, 3.54, 0.509),
    "chinese": (0.0345, 0.1726, 0.25, 0.759),
    "other_language": (0.006142, 0.03804, 0.575, 0.759),
    "repetition": (0.2574, 0.2387, 5.06, 0.588),
    "echo": (0.5262, 0.3247, 1.14, 0.538),
    "finished": (0.4432, 0.4981, 2.84, 1.07),
}
# end measured table
