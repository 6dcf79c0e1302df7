"""How a reply is sampled: what a request asks for, completed by the person's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data.errors import Invalid
from learner.modeling.decode import SamplingSettings

MAX_STOPS = 4
MAX_STOP_CHARS = 200
MAX_REPLY_TOKENS = 32_768
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sampling:
    """One request's wishes; None means "as in the person's settings" (`seed` None: not repeatable)."""

    temperature: float | None = None  # 0 = greedy
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def completed(self, settings: Mapping[str, Any]) -> Sampling:
        """With the gaps filled from the settings, and every value checked (`Invalid` with its name)."""
        full = replace(
            self,
            temperature=settings["temperature"] if self.temperature is None else self.temperature,
            top_p=settings["top_p"] if self.top_p is None else self.top_p,
            max_tokens=settings["max_tokens"] if self.max_tokens is None else self.max_tokens,
        )
        full._check()
        return full

    def _check(self) -> None:
        assert self.temperature is not None and self.top_p is not None and self.max_tokens is not None
        if not 0 <= self.temperature <= 2:
            raise Invalid(f"temperature must be between 0 and 2, not {self.temperature}.", "temperature")
        if not 0 < self.top_p <= 1:
            raise Invalid(f"top_p must be above 0 and at most 1, not {self.top_p}.", "top_p")
        if not 1 <= self.max_tokens <= MAX_REPLY_TOKENS:
            raise Invalid(f"max_tokens must be 1 to {MAX_REPLY_TOKENS}, not {self.max_tokens}.", "max_tokens")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise Invalid(f"seed must be 0 to {MAX_SEED}, not {self.seed}.", "seed")
        if len(self.stop) > MAX_STOPS or not all(0 < len(s) <= MAX_STOP_CHARS for s in self.stop):
            raise Invalid(f"stop takes up to {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} characters.", "stop")

    def for_decoder(self, max_new_tokens: int, variant: int = 0) -> SamplingSettings:
        """The decoder's settings; `variant` i of a seeded request draws from its own seed."""
        assert self.temperature is not None and self.top_p is not None
        seed = None if self.seed is None else (self.seed + variant) % (MAX_SEED + 1)
        return SamplingSettings(
            temperature=self.temperature, top_p=self.top_p, max_new_tokens=max_new_tokens, seed=seed
        )

    def stored(self, variant: int = 0) -> dict[str, Any]:
        """What is kept beside the reply."""
        kept: dict[str, Any] = {
            "temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens,
        }  # fmt: skip
        if self.seed is not None:
            kept["seed"] = (self.seed + variant) % (MAX_SEED + 1)
        if self.stop:
            kept["stop"] = list(self.stop)
        return kept
