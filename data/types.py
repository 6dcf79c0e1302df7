"""The shapes of everything Attune stores, and of what the learner is given.

Plain frozen values: no behaviour, no I/O, no torch. Ids are ULIDs (text, sortable by creation time);
times are UTC, ISO 8601 with milliseconds and a trailing Z.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
FeedbackKind = Literal["thumb", "stars", "comment", "edit", "ranking"]
FinishReason = Literal["stop", "length", "cancelled", "interrupted"]
RunState = Literal["queued", "running", "promoted", "rejected", "abstained", "cancelled", "failed"]
VersionStatus = Literal["candidate", "accepted", "rejected", "unloadable"]
PublicationReason = Literal["promoted", "rollback", "auto_rollback", "reset", "import"]
OutcomeCode = Literal["waiting", "used", "held_out", "left_out", "superseded", "retracted"]

FEEDBACK_KINDS: tuple[FeedbackKind, ...] = ("thumb", "stars", "comment", "edit", "ranking")
RewardKind = Literal["bayesian", "linear", "neural", "length", "auto"]
REWARD_KINDS: tuple[RewardKind, ...] = ("bayesian", "linear", "neural", "length", "auto")
BASE_VERSION = 0  # the version number of the model without an adapter
# How freely replies are drawn where nobody asks for more or less: in the chat, in the gate, in the benchmark.
# At 0.4 more than half of the embedded model's replies go round in circles, at 0.7 a quarter (docs/log.md).
CHAT_TEMPERATURE = 0.7


@dataclass(frozen=True)
class User:
    """A person. `me` exists from the start and has no password; an account is a user with one."""

    id: str
    name: str
    password_hash: str | None
    is_admin: bool
    created_at: str


@dataclass(frozen=True)
class Conversation:
    id: str
    user_id: str
    title: str
    system_prompt: str
    created_at: str
    updated_at: str
    deleted_at: str | None = None


@dataclass(frozen=True)
class Message:
    """One node of a conversation's tree: siblings under one parent are variants (or branches).

    `finish_reason` is None for people's messages and while a reply is being written;
    `adapter_version` is the version that wrote a reply (0 = base), None for people's messages and edits.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    content: str
    created_at: str
    finish_reason: FinishReason | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    adapter_version: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Replies to one message that were shown together. `versions[i]` wrote `reply_ids[i]`."""

    id: str
    user_id: str
    conversation_id: str
    prompt_message_id: str
    reply_ids: tuple[str, ...]
    versions: tuple[int, ...]
    created_at: str


@dataclass(frozen=True)
class FeedbackEvent:
    """One thing a person said about a reply (or about replies shown together).

    `value` by kind: thumb "up"/"down"; stars 1..5; comment and edit text; ranking
    {"order": [[best reply ids...], [next...]]}. `superseded_by` / `retracted_by` are ids of later events.
    `seen_s` is for how many seconds the page had shown what is judged; None where nobody measured it.
    """

    id: str
    user_id: str
    kind: FeedbackKind
    value: Any
    created_at: str
    message_id: str | None = None
    comparison_id: str | None = None
    supersedes: str | None = None
    seen_s: float | None = None
    superseded_by: str | None = None
    retracted_by: str | None = None


@dataclass(frozen=True)
class FeedbackOutcome:
    """What became of a piece of feedback: a code for programs, a sentence for people."""

    code: OutcomeCode
    version: int | None
    reason: str
    text: str


@dataclass(frozen=True)
class FeedbackUse:
    """How one learning run used one piece of feedback."""

    feedback_id: str
    role: Literal["train", "held-out", "left out"]
    why: str = ""


@dataclass(frozen=True)
class AdapterVersion:
    user_id: str
    number: int
    parent: int
    base_id: str
    sha256: str
    status: VersionStatus
    report: Mapping[str, Any]
    created_at: str
    has_weights: bool = True  # False once its folder was dropped (rejected, or too old to keep)


@dataclass(frozen=True)
class Publication:
    """The newest row of a person says which version is live."""

    id: str
    user_id: str
    version: int
    reason: PublicationReason
    created_at: str


@dataclass(frozen=True)
class LearningRun:
    id: str
    user_id: str
    state: RunState
    phase: str
    progress: float  # 0..1
    trigger: Literal["manual", "automatic"]
    queued_at: str
    started_at: str | None = None
    ended_at: str | None = None
    heartbeat_at: str | None = None
    watermark: str | None = None  # id of the newest feedback event that the run saw
    version: int | None = None  # the version it made, also when rejected
    reason: str = ""  # why it was promoted, rejected, abstained or failed, in words
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEnd:
    """How a run ends with the version it made: in the same transaction, so that no crash can part the two."""

    run_id: str
    state: RunState
    reason: str


@dataclass(frozen=True)
class BaseSpec:
    """Which base model this is, exactly, and the shape of every layer an adapter may sit on.

    `id` is a hub id, a folder, a GGUF file or "embedded"; `weights_sha256` is over the weight files and
    `template_sha256` over the chat template; `linear_shapes` maps a module path to (out, in) features.
    """

    id: str
    revision: str
    weights_sha256: str
    template_sha256: str
    linear_shapes: Mapping[str, tuple[int, int]]


# --- What the learner is given -------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """One message of a context, as the chat template takes it."""

    role: Role
    content: str


@dataclass(frozen=True)
class Reply:
    """A reply's text; `finished` is False where it was cut off by the length limit or by Stop."""

    text: str
    finished: bool = True


@dataclass(frozen=True)
class Observation:
    """One piece of feedback as the reward model sees it; `context` is x, `replies` are the y.

    | kind    | replies                       | outcome                                             |
    |---------|-------------------------------|-----------------------------------------------------|
    | edit    | (edited, original)            | None                                                |
    | ranking | the replies as shown          | tuple of tuples of indices into replies, best first |
    | stars   | (reply,)                      | 1..5                                                |
    | thumb   | (reply,)                      | +1 or -1                                            |
    | comment | (reply,)                      | the text                                            |

    `weight` in (0, 1], with `why` where it counts less than in full; `held_out` is fixed for ever by a hash
    of the conversation's root message, whose id is `root_id`: everything said in one conversation falls on
    the same side of every split. Who builds observations from the store fills it; left empty, the reward
    model takes the context's first message for it.
    """

    feedback_id: str
    kind: FeedbackKind
    context: tuple[Turn, ...]
    replies: tuple[Reply, ...]
    outcome: Any
    weight: float
    held_out: bool
    created_at: str
    root_id: str = ""
    why: str = ""


@dataclass(frozen=True)
class Evidence:
    """A person's standing feedback as observations, and what was left out with the reason."""

    observations: tuple[Observation, ...]
    left_out: tuple[FeedbackUse, ...]
    watermark: str | None
