"""Bodies of the chat routes: OpenAI's fields that we have, and an honest refusal of those that we lack."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from assistant.chat import MAX_VARIANTS, ModelName
from assistant.prompting import MAX_TEXT_CHARS
from assistant.sampling import MAX_REPLY_TOKENS, MAX_SEED, MAX_STOP_CHARS, MAX_STOPS, Sampling
from data.errors import Invalid, NotFound
from data.types import Turn

MAX_MESSAGES = 1000

def as_whole(value: Any) -> Any:
    """JSON knows numbers only: 3.0 is the integer 3, for JSON Schema too. Everything else stays as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(as_whole)  # after the bounds: before them, they would not be in the document
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]

# Fields of OpenAI's request that we do not have, and the values with which they ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
}
_HINTS = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")  # change no answer


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class TextPart(_Body):
    type: Literal["text"]
    text: Text


class ChatMessage(_Body):
    """One message; what a client copies from a reply (tool_calls, refusal ...) may be there, but empty."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False,
        json_schema_extra={"additionalProperties": {"enum": [None, [], {}, ""]}},
    )  # fmt: skip

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    def turn(self) -> Turn:
        for name, value in (self.model_extra or {}).items():
            if value not in (None, [], {}, ""):
                raise Invalid(f"messages cannot carry {name} here.", f"messages.{name}")
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Turn("system" if self.role == "developer" else self.role, text)


class StreamOptions(_Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Asking(_Body):
    """What both chat routes share."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_REPLY_TOKENS), Whole] = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED), Whole] = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    conversation_id: Annotated[str | None, Field(max_length=64)] = None

    def turns(self) -> list[Turn]:
        return [message.turn() for message in self.messages]

    def sampling(self) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(self.temperature, self.top_p, self.max_tokens, self.seed, stop)


def _document_neutral(schema: dict[str, Any]) -> None:
    """Fields that we do not have are in the document with the values that they may have all the same."""
    schema["additionalProperties"] = {"type": "null"}
    for name, values in _NEUTRAL.items():
        schema["properties"][name] = {"enum": [None, *values]}
    for name in _HINTS:
        schema["properties"][name] = {"type": ["string", "null"]}


class ChatRequest(_Asking):
    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, json_schema_extra=_document_neutral
    )

    model: Annotated[str, Field(max_length=200)]
    n: Annotated[int | None, Field(ge=1, le=MAX_VARIANTS), Whole] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=MAX_REPLY_TOKENS), Whole] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None

    def model_name(self) -> ModelName:
        if self.model == "attune":
            return "attune"
        if self.model == "base":
            return "base"
        raise NotFound(f"There is no model {self.model!r}: choose attune or base.")

    def sampling(self) -> Sampling:
        given = {n for n in (self.max_tokens, self.max_completion_tokens) if n is not None}
        if len(given) > 1:
            raise Invalid("max_tokens and max_completion_tokens differ; give one.", "max_completion_tokens")
        plain = super().sampling()
        most = next(iter(given), None)
        return Sampling(plain.temperature, plain.top_p, most, plain.seed, plain.stop)

    def refuse_what_we_lack(self) -> None:
        """Raises Invalid for the first field that would change the answer and that we do not have."""
        for name, value in (self.model_extra or {}).items():
            if value is None or (name in _HINTS and isinstance(value, str)):
                continue
            neutral = _NEUTRAL.get(name, ())
            # 0 == False in Python, but not in JSON
            if not any(value == v and isinstance(value, bool) == isinstance(v, bool) for v in neutral):
                raise Invalid(f"{name} is not supported here; leave it out.", name)
        if self.stream_options is not None and not self.stream:
            raise Invalid("stream_options is only for stream: true.", "stream_options")


class ComparisonRequest(_Asking):
    n: Annotated[int, Field(ge=2, le=MAX_VARIANTS), Whole] = 2
