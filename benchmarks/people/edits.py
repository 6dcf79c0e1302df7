"""Ways in which people change a reply by hand: a simulated person tries them all and keeps what pleases them most."""

from __future__ import annotations

import re

from data.types import Reply

MOST_SENTENCES = 8


def ways_to_edit(reply: Reply) -> list[Reply]:
    """Other versions of a reply, each one change away from it; edited replies always come to an end."""
    text = reply.text.strip()
    sentences = re.findall(r"[^.!?。！？\n]+[.!?。！？]*\s*", text)
    ways = ["".join(sentences[:n]).strip() for n in range(1, min(len(sentences), MOST_SENTENCES))]
    if not reply.finished and len(sentences) > 1:
        ways.append("".join(sentences[:-1]).strip())
    lines = [line for line in text.splitlines() if line.strip()]
    plain = [re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line) for line in lines]
    ways.append(" ".join(plain))
    if len(sentences) > 2:
        ways.append("\n".join(f"- {s.strip()}" for s in sentences if s.strip()))
        ways.append("\n".join(f"{i}. {s.strip()}" for i, s in enumerate(sentences, 1) if s.strip()))
        ways.append("\n\n".join(s.strip() for s in sentences if s.strip()))
    ways.append(text + " What do you think?")
    ways.append(re.sub(r"\s*[^.!?。！？]*[?？]\s*$", "", text))
    ways.append(text + " 🙂")
    ways.append(re.sub(r"[\U0001f300-\U0001faff]", "", text))
    ways.append(text.replace("!", ".").replace("！", "。"))
    ways.append(re.sub(r"\.(\s|$)", r"!\1", text, count=2))
    ways.append(re.sub(r"\b(\w+) not\b", _shortened, text))
    ways.append(re.sub(r"n['’]t\b", " not", text))
    ways.append("Glad you asked! " + text)
    ways.append("I hope this helps, my friend. " + text if not text.startswith("I hope") else text)
    return [Reply(way, True) for way in dict.fromkeys(ways) if way and way != reply.text]


def _shortened(match: re.Match[str]) -> str:
    word = match.group(1)
    return f"{word}n't" if word.lower() in ("do", "does", "did", "is", "are", "was", "has", "have") else match.group(0)
