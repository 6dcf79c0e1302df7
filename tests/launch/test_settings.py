"""What can be set of the learner, and what is refused: each in one line that names the value."""

from __future__ import annotations

import pytest

from assistant.commands.settings import changed_by
from data.errors import Invalid
from learner.config import LearnerConfig, checked, named_values, with_overrides


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ("learner.budget_minutes=-1", "above 0, not -1"),
        ("learner.ppo.temperature=0", "above 0, not 0"),
        ("learner.ppo.clip_range=NaN", "not nan"),
        ("learner.ppo.kl_coef=-0.1", "at least 0, not -0.1"),
        ("learner.algorithm=sarsa", "ppo, reinforce, dpo, none, not 'sarsa'"),
        ("learner.ppo.iterations=many", "takes int, not 'many'"),
        ("learner.ppo=3", "does not name a single value"),
        ("learner.ppo=default", "does not name a single value"),
        ("learner.nothing=1", "There is no learner setting 'nothing'"),
        ("learner.ppo.replies_trained=7", "not 7"),
        ("learner.practice.replies=1", "at least 2, not 1"),
        ("learner.gate.prompts=0", "at least 1, not 0"),
    ],
)
def test_what_no_update_can_be_made_with_is_refused(wrong: str, word: str) -> None:
    with pytest.raises(Invalid) as error:
        checked(with_overrides(LearnerConfig(), changed_by({}, [wrong])))
    assert word in str(error.value) and "\n" not in str(error.value)


def test_every_name_that_is_listed_can_be_set_to_its_own_value() -> None:
    values = named_values(LearnerConfig())
    assert len(values) > 90 and values["ppo.baseline"] == "prefix"
    assert checked(with_overrides(LearnerConfig(), values)) == LearnerConfig()


def test_the_last_value_counts_and_default_takes_it_back() -> None:
    changed = changed_by({"seed": 3}, ["learner.algorithm=dpo", "learner.seed=5", "learner.seed=7"])
    assert changed == {"algorithm": "dpo", "seed": 7}
    assert changed_by(changed, ["learner.seed=default", "learner.gate_minutes=default"]) == {"algorithm": "dpo"}
