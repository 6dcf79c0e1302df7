"""Finding what was said: messages by their words, conversations by those or by their title."""

from __future__ import annotations

from typing import NamedTuple

from data.store.chat import MAX_TITLE_CHARS, OWN, conversation_of, message_of
from data.store.connection import Connected, to_json
from data.types import Conversation, Message

MAX_TRIGRAMS = 200  # of a short word: more, and a scan from the newest message on is quicker


class Words(NamedTuple):
    """What a message must hold: every phrase of the index, and every pattern in its text."""

    phrases: list[str]
    patterns: list[str]

    @property
    def match(self) -> str:
        return " AND ".join(self.phrases)

    @property
    def alike(self) -> str:
        return "".join(" AND messages.content LIKE ? ESCAPE '\\'" for _ in self.patterns)


class Search(Connected):
    """The part of the store that finds what somebody looks for."""

    def search(self, user_id: str, query: str, limit: int = 20) -> list[Message]:
        """Own messages that hold every word of `query`, newest first; any script, any case of ASCII."""
        words = self._words(query)
        if words is None:
            return []
        source = "messages CROSS"  # the newest first, until there are enough
        conditions = words.alike
        parameters = [user_id, *words.patterns]
        if words.phrases:
            source = "messages_fts JOIN messages ON messages.seq = messages_fts.rowid"
            conditions += " AND messages_fts MATCH ?"
            parameters.append(words.match)
        rows = self._all_rows(
            f"SELECT messages.* FROM {source} {OWN}{conditions} ORDER BY messages.seq DESC LIMIT ?",
            (*parameters, limit),
        )
        return [message_of(row) for row in rows]

    def find_conversations(self, user_id: str, query: str, limit: int = 50) -> list[Conversation]:
        """Own conversations with `query` in their title, or with a message that holds every word of it; the most
        recently used first."""
        words = self._words(query)
        said = "0"
        parameters: list[str] = []
        if words is not None and words.phrases:
            said = (
                "id IN (SELECT messages.conversation_id FROM messages_fts"
                f" JOIN messages ON messages.seq = messages_fts.rowid WHERE messages_fts MATCH ?{words.alike})"
            )
            parameters = [words.match, *words.patterns]
        elif words is not None:  # common words: looked for in one conversation after the other, until there are enough
            said = f"EXISTS (SELECT 1 FROM messages WHERE messages.conversation_id = conversations.id{words.alike})"
            parameters = words.patterns
        rows = self._all_rows(
            "SELECT * FROM conversations WHERE user_id = ? AND deleted_at IS NULL"
            " AND (EXISTS (SELECT 1 FROM json_each(?) WHERE title LIKE json_each.value ESCAPE '\\')"
            f" OR {said}) ORDER BY updated_at DESC, id DESC LIMIT ?",
            (user_id, to_json(_titles(query)), *parameters, limit),
        )
        return [conversation_of(row) for row in rows]

    def _words(self, query: str) -> Words | None:
        """How to find messages that hold every word of `query`; None where none can.

        The trigram index answers words of three characters or more. A shorter one (two Chinese characters are
        a word) is looked for as the beginning of trigrams; one that begins very many is common, and then
        reading the newest messages finds it at once.
        """
        words = Words([], [])
        for word in _sayable(query).split():
            trigrams = [word] if len(word) >= 3 else self._trigrams(word)
            if not trigrams:
                return None
            if len(trigrams) > MAX_TRIGRAMS:
                words.patterns.append(_like(word))
            else:
                words.phrases.append("(" + " OR ".join(map(_phrase, trigrams)) + ")")
        return words if words.phrases or words.patterns else None

    def _trigrams(self, word: str) -> list[str]:
        """The indexed trigrams that begin with a word of one or two characters; at most MAX_TRIGRAMS + 1."""
        found: set[str] = set()
        for beginning in {word, word.lower(), word.casefold()}:
            rows = self._all_rows(
                "SELECT term FROM messages_terms WHERE term >= ? AND term < ? LIMIT ?",
                (beginning, beginning + "\U0010ffff", MAX_TRIGRAMS + 1),
            )
            found |= {row["term"] for row in rows}
        return sorted(found)


def _sayable(query: str) -> str:
    """Without what no index can be asked for: a NUL would end the words for it in the middle, and half a character
    stands in no message."""
    return query.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _titles(query: str) -> list[str]:
    """Patterns for titles that hold `query`: LIKE knows upper and lower case of ASCII alone."""
    text = " ".join(_sayable(query).split())  # as titles are stored
    if not text or len(text) > MAX_TITLE_CHARS:
        return []
    return sorted({_like(way) for way in (text, text.lower(), text.upper(), text.capitalize(), text.title())})


def _phrase(text: str) -> str:
    """A text as FTS5 takes it literally."""
    return '"' + text.replace('"', '""') + '"'


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
