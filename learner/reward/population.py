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
    "log_length": 0.5,  # 65 % more words, from 20 on
    "under_20_words": 0.5,  # the same unit as log_length, as are the next ones
    "brevity": 0.5,  # of 20 to 40 words: so that a length can be liked best
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
    "log_length": (4.759, 0.7595, 1.06, 2.73),
    "under_20_words": (0.03476, 0.1782, 2.56, 0.986),
    "brevity": (0.06842, 0.1894, 0.808, 1.64),
    "over_80_words": (0.5643, 0.4187, 1.96, 1.52),
    "over_130_words": (0.2424, 0.2287, 2.52, 1.96),
    "sentence_length": (2.835, 0.5942, 2.62, 0.671),
    "over_12_word_sentences": (0.3837, 0.4144, 3.42, 0.809),
    "over_20_word_sentences": (0.1173, 0.2854, 6.35, 0.588),
    "paragraphs": (1.325, 0.6147, 3.37, 0.496),
    "bullets": (0.06245, 0.3697, 12.1, 0.938),
    "numbered_steps": (0.1234, 0.4995, 8.53, 1.19),
    "headings": (0.0407, 0.1636, 1.43, 0.541),
    "emphasis": (0.00575, 0.05394, 20, 0.738),
    "code": (0.01405, 0.08479, 0.25, 0.868),
    "emoji": (0.02505, 0.1688, 20, 2.22),
    "exclamations": (0.03481, 0.1188, 4.08, 1.13),
    "closing_question": (0.03409, 0.1818, 7.65, 1.36),
    "questions": (0.02288, 0.1079, 1.17, 0.51),
    "second_person": (2.554, 3.592, 1.04, 1.37),
    "first_person": (1.765, 3.034, 1.26, 0.505),
    "hedges": (0.5769, 1.032, 4.17, 0.743),
    "formal": (0.4625, 0.9068, 4.09, 0.493),
    "casual": (0.4169, 0.8876, 4.97, 0.508),
    "contractions": (1.461, 2.373, 1.49, 1.47),
    "long_words": (0.1197, 0.07608, 1.26, 0.504),
    "warmth": (0.4474, 1.093, 3.57, 0.894),
    "intensifiers": (0.2089, 0.538, 20, 0.502),
    "greeting": (0.0625, 0.2428, 2.16, 0.528),
    "closing_offer": (0.02841, 0.1669, 20, 0.562),
    "examples": (0.197, 0.415, 3.43, 0.592),
    "figures": (1.349, 3.533, 3.07, 0.575),
    "clauses": (0.6914, 0.5481, 4.09, 0.497),
    "asides": (0.2502, 1.019, 0.496, 0.593),
    "quotations": (0.2518, 0.8608, 5.33, 0.493),
    "directives": (0.9981, 1.757, 1.43, 0.507),
    "disclaimers": (0.04406, 0.1789, 20, 0.538),
    "reasons": (0.1492, 0.3992, 2.61, 0.49),
    "sequence": (0.2242, 0.4831, 1.71, 0.667),
    "imagery": (0.1823, 0.4433, 2.55, 0.516),
    "chinese": (0.03109, 0.1684, 0.443, 0.643),
    "other_language": (0.01312, 0.09936, 2.36, 0.643),
    "repetition": (0.2447, 0.2287, 4.69, 0.523),
    "echo": (0.5173, 0.319, 1.48, 0.526),
    "finished": (0.4413, 0.498, 2.35, 1.08),
}
# end measured table
