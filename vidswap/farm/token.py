"""Names in a queue: items, their generations, and how one ended."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, Self

from vidswap.errors import StateError, VidswapError

KEY_DIGITS = 32
Outcome = Literal["commit", "failed", "lost", "released"]
State = Literal["unknown", "waiting", "blocked", "active", "done", "quarantined"]


class Token(NamedTuple):
    """One generation of an item: the n-th time it is handed out. Generations are fencing tokens."""

    key: str
    generation: int
    fails: int
    """Generations before it that failed or were lost, since it was last retried by hand."""

    def __str__(self) -> str:
        return f"{self.key}.{self.generation}.{self.fails}"

    @property
    def shard(self) -> str:
        """Subfolder, so that no folder grows large."""
        return self.key[:2]

    @classmethod
    def parse(cls, name: str) -> "Token | None":
        """The token of a file name; None for drafts and foreign files."""
        parts = name.split(".")
        if len(parts) != 3 or len(parts[0]) != KEY_DIGITS:
            return None
        if not (parts[1].isdigit() and parts[2].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]))


def key_of(identity: Mapping[str, Any]) -> str:
    """Key of an item by what it is made from: adding the same thing twice adds it once."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class Item:
    """Something to do."""

    kind: str
    payload: Mapping[str, Any]
    attempts: int = 3
    """Generations that may fail before it is quarantined."""
    lane: int = 5
    """0–9; lower lanes are handed out first."""
    after: tuple[str, ...] = ()
    """Keys of items that must be done before its first generation."""

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """The inverse.

        Raises:
            StateError: Not an item.
        """
        try:
            table = json.loads(data)
            return cls(**(table | {"after": tuple(table["after"])}))
        except (ValueError, TypeError, KeyError) as error:
            message = "not an item of a queue; adding it again repairs it"
            raise StateError(message, path=where, stage="queue") from error


@dataclass(frozen=True, slots=True)
class End:
    """How a generation ended, and what follows from it; whoever reads it can carry it out."""

    outcome: Outcome
    fails: int
    """Failures so far, this one counted."""
    by: str
    """Process that decided it."""
    moves: tuple[tuple[str, str], ...] = ()
    """(from, to): files that become visible by the commit."""
    removes: tuple[str, ...] = ()
    """Folders that are not needed any more."""
    result: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    final: bool = False
    """Trying again would fail again."""
    after: tuple[str, ...] = ()
    """Keys of items that must be done before the next generation."""

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def decode(cls, data: bytes) -> "End":
        """The inverse."""
        table = json.loads(data)
        moves = tuple((str(a), str(b)) for a, b in table["moves"])
        lists = {name: tuple(table[name]) for name in ("removes", "after")}
        return cls(**(table | {"moves": moves} | lists))


class FencedError(StateError):
    """The item was given to another worker: whatever this one made of it does not count."""

    code = "fenced"


def describe_error(error: BaseException) -> dict[str, Any]:
    """An error as plain values."""
    if isinstance(error, VidswapError):
        return {
            "code": error.code,
            "message": error.message,
            "path": error.path,
            "stage": error.stage,
            "hint": error.hint,
        }
    message = f"{type(error).__name__}: {error}"
    return {"code": "bug", "message": message, "path": None, "stage": None, "hint": None}
