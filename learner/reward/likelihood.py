"""One likelihood for every kind of feedback, with its gradient.

Parameters theta (P,) = F feature weights w, then nine others (the indices below, counted from F):

    log beta of edits, stars, thumbs   how sharply each kind follows the utility; rankings have 1, which
                                       fixes the scale of all others
    threshold b                        the utility above which this person gives a thumb up
    cut centre m, three log gaps       star cut-points: c_2, c_3 = m -+ exp(g2)/2, c_1 = c_2 - exp(g1),
                                       c_4 = c_3 + exp(g3): always in order
    log tie                            how readily replies are called equal (Davidson's nu)

With r = phi . w:

    edit      sigma(beta_e (r_edited - r_original))
    thumb     sigma(+-beta_t (r - b))
    stars     P(s <= k) = sigma(c_k - beta_s r)
    ranking   in stages; a set C is taken from those left with probability proportional to
              nu^(|C|-1) exp(mean of r over C)   (Davidson 1970 for two; Plackett-Luce with ties for more:
              Turner, van Etten, Firth, Kosmidis 2020). Without ties it is Plackett-Luce exactly.

Each observation's log-likelihood is multiplied by its weight. Comments are Gaussian on w and live in the
prior (model.py). All functions are pure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from learner.reward.design import Choices, Design, IntArray
from learner.reward.features import Array

LOG_BETA_EDIT, LOG_BETA_STARS, LOG_BETA_THUMB, THRESHOLD, CUT_CENTRE, GAP_1, GAP_2, GAP_3, LOG_TIE = range(9)
EXTRA = 9  # parameters after the weights


class Terms(NamedTuple):
    """A Design with its features gathered, ready for many evaluations."""

    n: int
    edit_obs: IntArray  # (E,)
    edit_delta: Array  # (E, F) edited minus original
    thumb_obs: IntArray  # (T,)
    thumb_phi: Array  # (T, F)
    thumb_sign: Array  # (T,) +-1
    star_obs: IntArray  # (S,)
    star_phi: Array  # (S, F)
    star_level: IntArray  # (S,) 1..5
    choices: Choices
    alternative_phi: Array  # (A, F) mean over the set
    weight: Array  # (n,)


class Slopes(NamedTuple):
    """Derivatives of the weighted log-likelihood, row by row, in the rows' own latent numbers."""

    edit: Array  # (E,) to the difference of utilities
    thumb: Array  # (T,) to the utility
    star: Array  # (S,) to the utility
    alternative: Array  # (A,) to the set's mean utility
    extra: Array  # (n, EXTRA) to the other parameters, by observation


def gather(design: Design) -> Terms:
    """The terms of a design."""
    choices = design.choices
    if len(choices.size):
        sums = np.add.reduceat(design.replies[choices.member_row], choices.first_member, axis=0)
        alternative_phi = sums / choices.size[:, None]
    else:
        alternative_phi = np.zeros((0, design.replies.shape[1]))
    return Terms(
        n=len(design),
        edit_obs=design.edits[:, 0],
        edit_delta=design.replies[design.edits[:, 1]] - design.replies[design.edits[:, 2]],
        thumb_obs=design.thumbs[:, 0],
        thumb_phi=design.replies[design.thumbs[:, 1]],
        thumb_sign=design.thumbs[:, 2].astype(np.float64),
        star_obs=design.stars[:, 0],
        star_phi=design.replies[design.stars[:, 1]],
        star_level=design.stars[:, 2],
        choices=choices,
        alternative_phi=alternative_phi,
        weight=design.weight,
    )


def log_sigmoid(x: Array) -> Array:
    """log(1 / (1 + exp(-x))) without overflow."""
    return -np.logaddexp(0.0, -x)


def sigmoid(x: Array) -> Array:
    return np.exp(log_sigmoid(x))


def cut_points(extra: Array) -> Array:
    """(4,) increasing star cut-points of the parameters after the weights (EXTRA,)."""
    gaps = np.exp(extra[GAP_1 : GAP_3 + 1])
    c2, c3 = extra[CUT_CENTRE] - gaps[1] / 2, extra[CUT_CENTRE] + gaps[1] / 2
    return np.array([c2 - gaps[0], c2, c3, c3 + gaps[2]])


def _padded_cuts(extra: Array) -> Array:
    """(6,) with -inf and inf at the ends, so that a star s lies between entries s-1 and s."""
    return np.concatenate([[-np.inf], cut_points(extra), [np.inf]])


def _log_choice(utility: Array, choices: Choices) -> tuple[Array, Array]:
    """((G,) log-probability of what was taken, (A,) probability of every alternative in its stage)."""
    top = np.maximum.reduceat(utility, choices.first)
    weight = np.exp(utility - top[choices.stage])
    total = np.add.reduceat(weight, choices.first)
    return utility[choices.chosen] - top - np.log(total), weight / total[choices.stage]


def log_likelihoods(theta: Array, terms: Terms) -> Array:
    """(n,) weighted log-likelihood of each observation; 0 for comments."""
    features = terms.edit_delta.shape[1]
    w, extra = theta[:features], theta[features:]
    beta_edit, beta_stars, beta_thumb = np.exp(extra[:3])
    out = np.zeros(terms.n)
    np.add.at(out, terms.edit_obs, log_sigmoid(beta_edit * (terms.edit_delta @ w)))
    np.add.at(
        out, terms.thumb_obs,
        log_sigmoid(terms.thumb_sign * beta_thumb * (terms.thumb_phi @ w - extra[THRESHOLD])),
    )
    if len(terms.star_obs):
        cuts, latent = _padded_cuts(extra), beta_stars * (terms.star_phi @ w)
        above, below = cuts[terms.star_level], cuts[terms.star_level - 1]
        # sigma(u) - sigma(a) = sigma(u) sigma(-a) (1 - exp(a - u)): no difference of nearly equal numbers
        log_p = log_sigmoid(above - latent) + log_sigmoid(latent - below) + np.log1p(-np.exp(below - above))
        np.add.at(out, terms.star_obs, log_p)
    if len(terms.choices.first):
        utility = terms.alternative_phi @ w + extra[LOG_TIE] * (terms.choices.size - 1)
        np.add.at(out, terms.choices.observation, _log_choice(utility, terms.choices)[0])
    return out * terms.weight


def slopes(theta: Array, terms: Terms) -> Slopes:
    """First derivatives of the weighted log-likelihood."""
    features = terms.edit_delta.shape[1]
    w, extra = theta[:features], theta[features:]
    beta_edit, beta_stars, beta_thumb = np.exp(extra[:3])
    by_obs = np.zeros((terms.n, EXTRA))

    difference = terms.edit_delta @ w
    edit = beta_edit * sigmoid(-beta_edit * difference) * terms.weight[terms.edit_obs]
    np.add.at(by_obs[:, LOG_BETA_EDIT], terms.edit_obs, edit * difference)

    margin = terms.thumb_phi @ w - extra[THRESHOLD]
    sign = terms.thumb_sign
    thumb = sign * beta_thumb * sigmoid(-sign * beta_thumb * margin) * terms.weight[terms.thumb_obs]
    np.add.at(by_obs[:, LOG_BETA_THUMB], terms.thumb_obs, thumb * margin)
    np.add.at(by_obs[:, THRESHOLD], terms.thumb_obs, -thumb)

    star = _star_slopes(extra, beta_stars, terms.star_phi @ w, terms, by_obs)

    alternative = np.zeros(len(terms.choices.size))
    if len(terms.choices.first):
        choices = terms.choices
        ties = (choices.size - 1).astype(np.float64)
        probability = _log_choice(terms.alternative_phi @ w + extra[LOG_TIE] * ties, choices)[1]
        alternative = -probability
        alternative[choices.chosen] += 1
        alternative *= terms.weight[choices.observation][choices.stage]
        np.add.at(by_obs[:, LOG_TIE], choices.observation[choices.stage], alternative * ties)
    return Slopes(edit, thumb, star, alternative, by_obs)


def _star_slopes(extra: Array, beta: float, utility: Array, terms: Terms, by_obs: Array) -> Array:
    """(S,) derivative to the utility; adds those to beta, cut centre and gaps into by_obs (n, EXTRA)."""
    if not len(terms.star_obs):
        return np.zeros(0)
    cuts, weight = _padded_cuts(extra), terms.weight[terms.star_obs]
    above, below = cuts[terms.star_level], cuts[terms.star_level - 1]
    short_above = sigmoid(beta * utility - above)  # 1 - sigma(u)
    past_below = sigmoid(below - beta * utility)  # sigma(a)
    squeeze = 1 / np.expm1(above - below)  # from log(1 - exp(a - u)); 0 at the open ends
    to_latent = weight * (past_below - short_above)
    to_above = weight * (short_above + squeeze)
    to_below = -weight * (past_below + squeeze)
    to_cut = np.zeros((terms.n, 6))
    np.add.at(to_cut, (terms.star_obs, terms.star_level), to_above)
    np.add.at(to_cut, (terms.star_obs, terms.star_level - 1), to_below)
    inner = to_cut[:, 1:5]  # the open ends do not move
    gap_1, gap_2, gap_3 = np.exp(extra[GAP_1 : GAP_3 + 1])
    by_obs[:, CUT_CENTRE] += inner.sum(axis=1)
    by_obs[:, GAP_1] += -gap_1 * inner[:, 0]
    by_obs[:, GAP_2] += gap_2 / 2 * (inner[:, 2] + inner[:, 3] - inner[:, 0] - inner[:, 1])
    by_obs[:, GAP_3] += gap_3 * inner[:, 3]
    np.add.at(by_obs[:, LOG_BETA_STARS], terms.star_obs, to_latent * beta * utility)
    return beta * to_latent


def gradient(theta: Array, terms: Terms) -> Array:
    """(P,) gradient of the summed weighted log-likelihood."""
    s = slopes(theta, terms)
    to_w = (
        terms.edit_delta.T @ s.edit + terms.thumb_phi.T @ s.thumb + terms.star_phi.T @ s.star
        + terms.alternative_phi.T @ s.alternative
    )
    return np.concatenate([to_w, s.extra.sum(axis=0)])


def scores(theta: Array, terms: Terms) -> Array:
    """(n, P) gradient of each observation's weighted log-likelihood; sums to `gradient`."""
    s = slopes(theta, terms)
    to_w = np.zeros((terms.n, terms.edit_delta.shape[1]))
    np.add.at(to_w, terms.edit_obs, terms.edit_delta * s.edit[:, None])
    np.add.at(to_w, terms.thumb_obs, terms.thumb_phi * s.thumb[:, None])
    np.add.at(to_w, terms.star_obs, terms.star_phi * s.star[:, None])
    if len(terms.choices.first):
        owner = terms.choices.observation[terms.choices.stage]
        np.add.at(to_w, owner, terms.alternative_phi * s.alternative[:, None])
    return np.concatenate([to_w, s.extra], axis=1)


def weight_information(theta: Array, terms: Terms) -> Array:
    """(F, F) minus the second derivative of the log-likelihood in w, the others held; never negative."""
    features = terms.edit_delta.shape[1]
    w, extra = theta[:features], theta[features:]
    beta_edit, beta_stars, beta_thumb = np.exp(extra[:3])
    total = np.zeros((features, features))
    total += _gram(terms.edit_delta, beta_edit**2 * _bell(beta_edit * (terms.edit_delta @ w)),
                   terms.weight[terms.edit_obs])  # fmt: skip
    margin = beta_thumb * (terms.thumb_phi @ w - extra[THRESHOLD])
    total += _gram(terms.thumb_phi, beta_thumb**2 * _bell(margin), terms.weight[terms.thumb_obs])
    if len(terms.star_obs):
        cuts, latent = _padded_cuts(extra), beta_stars * (terms.star_phi @ w)
        curve = _bell(cuts[terms.star_level] - latent) + _bell(cuts[terms.star_level - 1] - latent)
        total += _gram(terms.star_phi, beta_stars**2 * curve, terms.weight[terms.star_obs])
    if len(terms.choices.first):
        choices = terms.choices
        utility = terms.alternative_phi @ w + extra[LOG_TIE] * (choices.size - 1)
        probability = _log_choice(utility, choices)[1]
        weighted = terms.alternative_phi * probability[:, None]
        mean = np.add.reduceat(weighted, choices.first, axis=0)  # (G, F)
        stage_weight = terms.weight[choices.observation]
        total += _gram(terms.alternative_phi, probability, stage_weight[choices.stage])
        total -= mean.T @ (mean * stage_weight[:, None])
    return total


def _bell(x: Array) -> Array:
    """sigma(x) sigma(-x): the curvature of log_sigmoid, turned positive; 0 at +-inf."""
    return np.exp(log_sigmoid(x) + log_sigmoid(-x))


def _gram(x: npt.NDArray[np.float64], curve: Array, weight: Array) -> Array:
    """x' diag(curve * weight) x."""
    return x.T @ (x * (curve * weight)[:, None])
