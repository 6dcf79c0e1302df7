"""A person's feedback as rows that other trainers load without a change.

TRL 1.16 takes a JSON-lines file in its conversational formats (`load_dataset("json", data_files=FILE)`):

| format         | row                                                          | trainers                     |
|----------------|--------------------------------------------------------------|------------------------------|
| preference     | prompt [messages], chosen [message], rejected [message]      | DPOTrainer, RewardTrainer    |
| unpaired       | prompt [messages], completion [message], label true or false | KTOTrainer                   |
| demonstrations | prompt [messages], completion [message]                      | SFTTrainer                   |

LLaMA-Factory takes a folder (`dataset_dir: FOLDER`, `dataset: attune_preference`): the rows in the "sharegpt"
formatting with OpenAI's role and content, and the dataset_info.json that describes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from data.errors import Invalid, NotFound
from data.evidence import load_evidence
from data.preferences import demonstrations
from data.quality import is_good, preferred
from data.store import Store
from data.types import Evidence, Observation, Reply, Turn

Format = Literal["preference", "unpaired", "demonstrations"]
Trainer = Literal["trl", "llama-factory"]
Row = dict[str, Any]

DATASET_INFO = "dataset_info.json"
_TAGS = {
    "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
    "system_tag": "system",
}  # fmt: skip
_COLUMNS: dict[Format, dict[str, str]] = {
    "preference": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
    "unpaired": {"messages": "messages", "kto_tag": "label"},
    "demonstrations": {"messages": "messages"},
}
_WHAT_IT_TAKES: dict[Format, str] = {
    "preference": "edits or comparisons",
    "unpaired": "thumbs, edits, or stars other than three",
    "demonstrations": "edits, five stars or thumbs up on replies that ended by themselves",
}


def export_data(store: Store, user_id: str, format: Format, trainer: Trainer, out: Path) -> dict[str, int]:
    """Write the rows to the file `out` (TRL) or into the folder `out` (LLaMA-Factory): {"rows", "left_out"}.

    Left out are, for LLaMA-Factory, conversations in which the person and the assistant do not take turns: it skips
    them. Raises NotFound where there is no row to write or no folder to write into; then nothing was written.
    """
    found = list(rows(load_evidence(store, user_id), format))
    usable = found if trainer == "trl" else [row for row in found if takes_turns(row["prompt"])]
    if not usable:
        raise NotFound(f"There is nothing to write: --format {format} takes {_WHAT_IT_TAKES[format]}.")
    if trainer == "trl":
        if out.is_dir():
            raise Invalid(f"{out} is a folder; name a file, such as {out / f'{format}.jsonl'}.", "out")
        _need_folder(out.absolute().parent)
        _write(out, usable)
    else:
        if out.exists() and not out.is_dir():
            raise Invalid(f"{out} is a file; LLaMA-Factory takes a folder.", "out")
        _need_folder(out.absolute().parent)
        name = f"attune_{format}"
        info = {**_read_info(out / DATASET_INFO), name: dataset_info(format, f"{name}.jsonl")}
        out.mkdir(exist_ok=True)
        _write(out / f"{name}.jsonl", [as_sharegpt(row) for row in usable])
        _replace(out / DATASET_INFO, json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    return {"rows": len(usable), "left_out": len(found) - len(usable)}


def rows(evidence: Evidence, format: Format) -> Iterator[Row]:
    """Rows in TRL's conversational shape, in the order in which things were said. Held-out feedback is among them:
    whoever trains elsewhere has their own split."""
    if format == "demonstrations":
        for context, reply in demonstrations(evidence, held_out=True):
            yield {"prompt": _messages(context), "completion": [_message(reply)]}
        return
    for observation in evidence.observations:
        prompt = _messages(observation.context)
        if format == "preference":
            for chosen, rejected in preferred(observation):
                yield {"prompt": prompt, "chosen": [_message(chosen)], "rejected": [_message(rejected)]}
        else:
            for reply, good in _judged(observation):
                yield {"prompt": prompt, "completion": [_message(reply)], "label": good}


def _judged(observation: Observation) -> Iterator[tuple[Reply, bool]]:
    """Replies that were called good or bad by themselves; an edit calls the text good and the original bad."""
    if observation.kind == "edit":
        yield observation.replies[0], True
        yield observation.replies[1], False
    good = is_good(observation)
    if good is not None:
        yield observation.replies[0], good


def takes_turns(messages: Sequence[Row]) -> bool:
    """Whether, after a system prompt, user and assistant alternate from user to user."""
    roles = [message["role"] for message in messages]
    if roles[:1] == ["system"]:
        roles = roles[1:]
    return len(roles) % 2 == 1 and all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))


def as_sharegpt(row: Row) -> Row:
    """A row of TRL's shape in LLaMA-Factory's."""
    if "chosen" in row:
        return {"messages": row["prompt"], "chosen": row["chosen"][0], "rejected": row["rejected"][0]}
    both = {"messages": [*row["prompt"], *row["completion"]]}
    return {**both, "label": row["label"]} if "label" in row else both


def dataset_info(format: Format, file_name: str) -> Row:
    """The entry of dataset_info.json."""
    info: Row = {"file_name": file_name, "formatting": "sharegpt", "columns": _COLUMNS[format], "tags": _TAGS}
    return {**info, "ranking": True} if format == "preference" else info


def _message(reply: Reply) -> Row:
    return {"role": "assistant", "content": reply.text}


def _messages(context: Sequence[Turn]) -> list[Row]:
    return [{"role": turn.role, "content": turn.content} for turn in context]


def _need_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder} to write into.")


def _read_info(path: Path) -> Row:
    """What the folder's dataset_info.json already describes: another format, or data that is not ours."""
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} is there and cannot be read ({error}); name another folder.", "out") from error
    if not isinstance(known, dict):
        raise Invalid(f"{path} is there and is no dataset_info.json; name another folder.", "out")
    return known


def _write(path: Path, found: Sequence[Row]) -> None:
    _replace(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
