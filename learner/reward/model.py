"""The personal reward model: a Bayesian linear utility r = phi . w, fitted to all feedback at once.

Maximum a posteriori by damped Newton over weights, channel noise, threshold and cut-points together
(likelihood.py, prior.py), then a Laplace posterior over all of them. Everything starts from the population's values
and nothing is random, so the same feedback gives the same model to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isinf
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from learner.reward import likelihood as lk
from learner.reward.design import Design, IntArray
from learner.reward.features import FEATURE_NAMES, Array, names_of
from learner.reward.prior import DEFAULTS, Prior, RewardConfig, prior_of, updated_variances

FORMAT = 1
LONGEST_STEP = 2.0  # in any parameter, in one Newton step: far from the mode the quadratic is no guide


@dataclass(frozen=True)
class RewardModel:
    """A fitted person. theta (P,) and covariance (P, P) are laid out as in likelihood.py: weights first.

    `intercepts` (P,) is the same person without any taste: weights 0, threshold, cut-points and ties fitted.
    """

    theta: Array
    covariance: Array
    intercepts: Array
    config: RewardConfig = DEFAULTS
    feature_names: tuple[str, ...] = FEATURE_NAMES
    counts: Mapping[str, int] = field(default_factory=dict)  # observations by kind
    converged: bool = True
    iterations: int = 0
    kind: str = "bayesian"  # or how else the weights were found (kinds.py)

    @property
    def w(self) -> Array:
        """(F,) weights, in logits per population sd of a feature."""
        return self.theta[: len(self.feature_names)]

    @property
    def w_covariance(self) -> Array:
        """(F, F) posterior covariance of the weights."""
        return self.covariance[: len(self.w), : len(self.w)]

    @property
    def threshold(self) -> float:
        """Utility above which a thumb goes up, more likely than not."""
        return float(self.theta[len(self.w) + lk.THRESHOLD])

    @property
    def cut_points(self) -> Array:
        """(4,) on the scale of beta_stars * utility."""
        return lk.cut_points(self.theta[len(self.w) :])

    @property
    def betas(self) -> dict[str, float]:
        """How sharply each kind of feedback follows the utility."""
        beta = np.exp(self.theta[len(self.w) :][:3])
        return {"edit": float(beta[0]), "stars": float(beta[1]), "thumb": float(beta[2]), "ranking": 1.0}

    def mean_and_sd(self, phi: Array) -> tuple[Array, Array]:
        """Utility of replies with centred features phi (N, F): posterior mean (N,) and sd (N,)."""
        # Row by row: the order in which BLAS adds depends on how many rows there are, and no reply changes another's.
        mean = np.einsum("nf,f->n", phi, self.w)
        variance = np.einsum("nf,fg,ng->n", phi, self.w_covariance, phi)
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def pessimistic(self, phi: Array, lambda_: float) -> Array:
        """(N,) posterior mean minus lambda_ posterior sd: optimise this, so as not to chase the unknown."""
        mean, sd = self.mean_and_sd(phi)
        return mean - lambda_ * sd

    def preference_probability(self, phi_a: Array, phi_b: Array) -> Array:
        """(N,) probability that a is chosen over b (each (N, F)), the uncertainty of w averaged over
        (MacKay 1992: sigma(m / sqrt(1 + pi v / 8)))."""
        mean, sd = self.mean_and_sd(phi_a - phi_b)
        return lk.sigmoid(mean / np.sqrt(1 + np.pi * sd**2 / 8))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """(n, F) draws of the weights from the posterior."""
        return self.w + rng.standard_normal((n, len(self.w))) @ _root(self.w_covariance).T

    def log_likelihood(self, design: Design) -> Array:
        """(n,) log-likelihood of each observation of another design, times its weight; 0 for comments."""
        return lk.log_likelihoods(self.theta, lk.gather(design))

    def intercepts_only_log_likelihood(self, design: Design) -> Array:
        """(n,) the same for somebody without any taste, with threshold and cut-points as fitted here."""
        return lk.log_likelihoods(self.intercepts, lk.gather(design))

    def gains(self, design: Design) -> Array:
        """(n,) nats over intercepts alone of each observation of another design."""
        return self.log_likelihood(design) - self.intercepts_only_log_likelihood(design)

    def save(self, folder: Path) -> None:
        """Write reward.safetensors and reward.json into a folder that exists."""
        arrays = {"theta": self.theta, "covariance": self.covariance, "intercepts": self.intercepts}
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, str(folder / "reward.safetensors"))
        card = {
            "format": FORMAT,
            "kind": self.kind,
            "features": list(self.feature_names),
            "config": asdict(self.config),
            "counts": dict(self.counts),
            "converged": self.converged,
            "iterations": self.iterations,
        }
        (folder / "reward.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> RewardModel:
        """Raises ValueError where the folder's model is of another format, has other shapes or is not finite,
        and OSError where a file is missing."""
        card = json.loads((folder / "reward.json").read_text(encoding="utf-8"))
        if card.get("format") != FORMAT:
            raise ValueError(f"{folder}: reward model format {card.get('format')!r}, expected {FORMAT}")
        arrays = load_file(str(folder / "reward.safetensors"))
        size = len(card["features"]) + lk.EXTRA
        shapes = {"theta": (size,), "covariance": (size, size), "intercepts": (size,)}
        for name, shape in shapes.items():
            array = arrays.get(name)
            if array is None or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{folder}: {name} of the reward model is missing, misshapen or not finite")
        return cls(
            theta=arrays["theta"],
            covariance=arrays["covariance"],
            intercepts=arrays["intercepts"],
            config=RewardConfig.from_mapping(card["config"]),
            feature_names=tuple(card["features"]),
            counts=card["counts"],
            converged=card["converged"],
            iterations=card["iterations"],
            kind=card["kind"],
        )


def fit(design: Design, config: RewardConfig = DEFAULTS) -> RewardModel:
    """The reward model of one person. An empty design gives the prior back."""
    terms, prior = lk.gather(design), prior_of(design, config)
    intercepts = fit_intercepts(design, config)
    features = design.replies.shape[1]
    everything, weights = np.arange(features + lk.EXTRA), np.arange(features)
    theta, iterations, converged = _newton(prior.mean, everything, terms, prior, config)
    if len(design) and not isinf(config.freedom):
        for _ in range(config.rounds):
            spread = np.diag(_inverse(_negative_hessian(theta, weights, terms, prior)))
            prior = prior_of(design, config, updated_variances(theta[:features], spread, config))
            theta, _, _ = _newton(theta, weights, terms, prior, config)
        theta, more, converged = _newton(theta, everything, terms, prior, config)
        iterations += more
    hessian = _negative_hessian(theta, everything, terms, prior)
    counts = {kind: design.kinds.count(kind) for kind in sorted(set(design.kinds))}
    return RewardModel(
        theta=theta,
        covariance=_inverse(hessian),
        intercepts=intercepts,
        config=config,
        feature_names=names_of(features),
        counts=counts,
        converged=converged,
        iterations=iterations,
    )


def log_evidence(model: RewardModel, design: Design) -> float:
    """Log of the integral of likelihood times prior over all parameters, by Laplace at the model's mode.

    `design`: what the model was fitted on. An empty design has evidence 1 (0.0); wishes move the prior and are not
    themselves predicted.
    """
    if not isinf(model.config.freedom):
        raise ValueError("the evidence is that of a Gaussian prior: fit with infinite freedom")
    prior = prior_of(design, model.config)
    value = _log_posterior(model.theta, lk.gather(design), prior)
    determinants = np.linalg.slogdet(prior.precision)[1] + np.linalg.slogdet(model.covariance)[1]
    return value + 0.5 * float(determinants)


def fit_intercepts(design: Design, config: RewardConfig = DEFAULTS) -> Array:
    """(P,) parameters of a person without taste: weights 0, threshold, cut-points and ties at their MAP."""
    design = replace(design, wishes=())
    terms, prior = lk.gather(design), prior_of(design, config)
    first = design.replies.shape[1] + lk.THRESHOLD
    free = np.arange(first, design.replies.shape[1] + lk.EXTRA)
    return _newton(prior.mean, free, terms, prior, config)[0]


def _newton(
    start: Array, free: IntArray, terms: lk.Terms, prior: Prior, config: RewardConfig
) -> tuple[Array, int, bool]:
    """(theta, iterations, converged): damped Newton over the entries `free` of theta.

    The joint posterior is not concave (a beta multiplies the weights), so a step is solved with the
    Hessian plus `damping` on its diagonal, and damping grows until the log posterior rises.
    """
    theta, damping = start.copy(), 0.0
    value = _log_posterior(theta, terms, prior)
    for iteration in range(config.max_iterations):
        slope = (lk.gradient(theta, terms) - prior.precision @ (theta - prior.mean))[free]
        if np.abs(slope).max() < config.tolerance:
            return theta, iteration, True
        hessian = _negative_hessian(theta, free, terms, prior)
        for _ in range(40):
            step = _solve(hessian, slope, damping)
            if step is not None:
                candidate = theta.copy()
                candidate[free] += step
                new_value = _log_posterior(candidate, terms, prior)
                if new_value >= value - 1e-12 * abs(value):
                    break
            damping = max(4 * damping, 1e-2)
        else:
            return theta, iteration, False
        theta, value, damping = candidate, new_value, (0.0 if damping < 0.1 else damping / 8)
    return theta, config.max_iterations, False


def _log_posterior(theta: Array, terms: lk.Terms, prior: Prior) -> float:
    return float(lk.log_likelihoods(theta, terms).sum()) + prior.log_density(theta)


def _negative_hessian(theta: Array, free: IntArray, terms: lk.Terms, prior: Prior) -> Array:
    """(len(free), len(free)) minus the Hessian of the log posterior.

    The block of the weights is exact; the nine other parameters' rows come from central differences of the
    exact gradient (error about 1e-9), which is less code than their second derivatives and as deterministic.
    """
    features = terms.edit_delta.shape[1]
    full = prior.precision.copy()
    if free[0] < features:
        full[:features, :features] += lk.weight_information(theta, terms)
    for index in free[free >= features]:
        step = np.zeros_like(theta)
        step[index] = 1e-5
        row = (lk.gradient(theta - step, terms) - lk.gradient(theta + step, terms)) / 2e-5
        row += prior.precision[index]
        full[index], full[:, index] = row, row
    corner = full[features:, features:]
    full[features:, features:] = (corner + corner.T) / 2
    chosen: Array = full[np.ix_(free, free)]
    return chosen


def _solve(hessian: Array, slope: Array, damping: float) -> Array | None:
    """The damped Newton step, or None where the damped Hessian is not positive definite."""
    damped = hessian + damping * np.diag(np.maximum(np.diag(hessian), 1e-3))
    try:
        factor = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        return None
    step: Array = np.linalg.solve(factor.T, np.linalg.solve(factor, slope))
    return step * min(1.0, LONGEST_STEP / float(np.abs(step).max()))


def _inverse(hessian: Array) -> Array:
    """Covariance of the Laplace posterior; directions that are not curved keep a bounded variance."""
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    inverse: Array = (vectors / np.maximum(values, 1e-3)) @ vectors.T
    return inverse


def _root(covariance: Array) -> Array:
    """A matrix L with L L' = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
