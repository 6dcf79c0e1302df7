"""The neural kind beside the Bayesian one, for a few people: minutes each, so it is a row of its own."""

from __future__ import annotations

import numpy as np

from benchmarks.reward.rows import REPORTED_SEED, Row, summarised
from benchmarks.reward.trial import Trial
from data.home import Home
from learner.config import NeuralRewardConfig
from learner.modeling.loading import load_base
from learner.reward.model import fit
from learner.reward.neural import train_neural

PEOPLE, PIECES, TESTED_PROMPTS = 2, 100, 24


def neural(trial: Trial, home: Home, model: str, quick: bool) -> Row:
    """Accuracy of both kinds at 100 pieces (20 in a quick run) on the same pairs."""
    base = load_base(model, home.models_dir)
    pieces, tested = (20, trial.tested[:3]) if quick else (PIECES, trial.tested[:TESTED_PROMPTS])
    pairs = trial.pairs_of(tested)
    rows = np.unique(pairs)
    values: dict[str, list[float]] = {f"neural_accuracy@{pieces}": [], f"neural_bayesian_accuracy@{pieces}": []}
    for person in trial.people(1 if quick else PEOPLE, REPORTED_SEED):
        observations = person.feedback(trial.rated, pieces)
        trained = train_neural(base, observations, NeuralRewardConfig(), seed=0)
        scores = np.zeros(len(trial.bank.rows))
        scores[rows] = trained.scores(
            [trial.bank.context(int(i)) for i in rows], [trial.bank.reply(int(i)) for i in rows]
        )
        values[f"neural_accuracy@{pieces}"].append(trial.accuracy(scores, person.utility, pairs))
        bayesian = trial.phi @ fit(trial.design(observations)).w
        values[f"neural_bayesian_accuracy@{pieces}"].append(trial.accuracy(bayesian, person.utility, pairs))
    return summarised(values)
