"""What the server counts about itself, as Prometheus reads it. Counts and seconds only: no names, no texts.

Counters and histograms grow as things happen; everything that the store or the engine knows already is read
when somebody asks (`Now`), so that it is right after a restart too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.engine import Engine, Generation
from data.store import Store

# From a cached page to a long reply on a slow machine.
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """One server's numbers, in a registry of their own (several servers may live in one process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "attune_http_requests", "Requests answered.", ("method", "route", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.request_s = self._histogram(
            "attune_http_request_seconds", "From a request to the end of its answer.", ("method", "route")
        )
        self.replies = Counter(
            "attune_replies", "Replies by how they ended.", ("finish_reason",), registry=self.registry
        )
        self.queue_s = self._histogram("attune_queue_seconds", "From asking to a place in the batch.")
        self.first_text_s = self._histogram("attune_first_text_seconds", "From asking to the first text.")
        self.reply_s = self._histogram("attune_reply_seconds", "From asking to the end of the reply.")

    def _histogram(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, about, labels, buckets=SECONDS, registry=self.registry)

    def reply_ended(self, generation: Generation) -> None:
        """The engine tells of every reply."""
        self.replies.labels(generation.finish_reason or "failed").inc()
        for histogram, until in (
            (self.queue_s, generation.joined_at),
            (self.first_text_s, generation.first_text_at),
            (self.reply_s, time.monotonic()),
        ):
            if until is not None:
                histogram.observe(until - generation.asked_at)

    def watch(self, store: Store, engine: Engine) -> None:
        self.registry.register(Now(store, engine))


class Now(Collector):
    """What is so at this moment, from the engine and the store."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    def describe(self) -> Iterator[Metric]:
        return iter(())  # nothing is read from the store only to register

    def collect(self) -> Iterator[Metric]:
        engine, totals = self._engine, self._store.home_totals()
        tokens = CounterMetricFamily(
            "attune_tokens", "Tokens of prompts read, of replies written.", labels=["kind"]
        )
        tokens.add_metric(["prompt"], engine.tokens_read)
        tokens.add_metric(["reply"], engine.tokens_written)
        yield tokens
        yield GaugeMetricFamily("attune_replies_active", "Replies being written.", engine.active)
        yield GaugeMetricFamily("attune_replies_waiting", "Replies waiting for their turn.", engine.waiting)
        yield GaugeMetricFamily("attune_people", "People with data here.", totals.people)
        alive = self._store.lease_holder() is not None
        yield GaugeMetricFamily(
            "attune_learner_alive", "Whether a learner is at work on this home.", int(alive)
        )
        yield _gauge("attune_feedback", "Feedback that stands.", "kind", totals.feedback)
        yield _gauge("attune_learning_runs", "Learning runs by state or outcome.", "state", totals.runs)
        versions = {str(version): people for version, people in totals.live.items()}
        yield _gauge("attune_live_versions", "People by the version that answers them (0: the base).",
                     "version", versions)  # fmt: skip


class Measured:
    """ASGI middleware around everything, refusals included: counts requests and times them by route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 499  # 499: the client left before there was an answer

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            status = 500
            raise
        finally:
            # Whoever asks must not be able to invent labels: what is not known is "other".
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = _route(scope)
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_s.labels(method, route).observe(time.monotonic() - began)


def _route(scope: Scope) -> str:
    """The template of the matched route (`/v1/feedback/{feedback_id}`), never an address with ids in it."""
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str) and template and not template.endswith(":path}"):
        return template
    return "page" if scope["path"].startswith(("/gradio_api", "/assets", "/static")) else "other"


def _gauge(name: str, about: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
