"""Puts a queue right: takes items from owners that are silent, finishes what others began."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b

from vidswap.farm import owner as owners
from vidswap.farm import register
from vidswap.farm.queue import Queue
from vidswap.farm.token import End, State, Token

LEASE_SECONDS = 90.0
"""Silence after which an item is taken over. NFS clients may show a file as it was a minute ago."""

WATCHED = 16
"""Entries that one of many watchers looks at, up to twice as many. Each entry has about as many
watchers; with all looking at all, a thousand workers would do nothing else."""

EPOCH_LEASES = 4
"""A watcher looks at the same entries for so many leases."""


def share_of(count: int) -> int:
    """One of how many entries a watcher looks at, where there are so many."""
    return 1 << max((count // WATCHED).bit_length() - 1, 0)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one pass did."""

    lost: tuple[Token, ...] = ()
    """Taken from owners that were silent or gone."""
    finished: tuple[Token, ...] = ()
    """Ended by others, and carried out here."""


@dataclass(slots=True, eq=False)
class Sweeper:
    """Watches the heartbeats of a queue.

    Clocks of different machines are never compared: an owner is silent when its heartbeat has not
    changed for a lease on this process's own monotonic clock. Two watchers may both find one silent;
    the end register decides.

    Args:
        queue: The queue.
        lease: Seconds.
        clock: Monotonic seconds.
        salt: One of many watchers, each with a salt of its own, looks at some entries where there
            are many: the same for some leases, then at others, and at all once many of its own fell
            silent. None looks at all.
    """

    queue: Queue
    lease: float = LEASE_SECONDS
    clock: Callable[[], float] = time.monotonic
    salt: int | None = None
    _all_until: float = float("-inf")
    """Many owners died at once: there may be fewer watchers than there are entries."""
    _looks: int = 0
    _seen: dict[Token, tuple[bytes, float]] = field(default_factory=dict)
    _met: dict[Token, int] = field(default_factory=dict)
    """How many of the items that a blocked one waits for are done, by token."""

    def sweep(self) -> Sweep:
        """Look at every active entry once, and let go what need not wait any more.

        Raises:
            OSError: The queue's folder is out of reach.
        """
        now = self.clock()
        lost, finished = [], []
        epoch = int(now / (EPOCH_LEASES * self.lease))
        active = set(self.queue.tokens("active"))
        active = active if now < self._all_until else self._mine(active, epoch)
        self._seen = {token: seen for token, seen in self._seen.items() if token in active}
        for token in active:
            if not self._silent(token, now):
                continue
            end = self.queue.end(token.key, token.generation)
            if end is None:
                end = self._lose(token)
                lost.append(token)
            else:
                finished.append(token)
            self.queue.carry_out(token, end)
        if len(lost) * 4 > len(active):
            self._all_until = now + 3 * self.lease
        self.unblock()
        return Sweep(tuple(lost), tuple(finished))

    def _mine(self, tokens: set[Token], turn: int) -> set[Token]:
        """What this watcher looks at, another part of it in another turn."""
        share = share_of(len(tokens))
        if self.salt is None or share == 1:
            return tokens
        name = f"{self.salt} {turn} "
        return {
            t
            for t in tokens
            if int.from_bytes(blake2b(f"{name}{t}".encode(), digest_size=4).digest()) % share == 0
        }

    def _silent(self, token: Token, now: float) -> bool:
        beat = register.read(self.queue.root / "active" / str(token))
        if beat is None:
            return False
        before = self._seen.get(token)
        if before is None or before[0] != beat:
            self._seen[token] = beat, now
        with suppress(ValueError, KeyError, TypeError):
            owner = owners.decode(json.loads(beat)["owner"])
            if owner is not None and owners.is_gone(owner):
                return True
        return now - self._seen[token][1] >= self.lease

    def _lose(self, token: Token) -> End:
        """End a generation in place of its owner; the owner's own end counts if it was faster."""
        beat = register.read(self.queue.root / "active" / str(token)) or b""
        name = "unknown"
        with suppress(ValueError, KeyError, TypeError):
            name = str(owners.decode(json.loads(beat)["owner"]))
        error = {
            "code": "worker_lost",
            "message": f"the worker {name} ended or fell silent in the middle of it",
            "path": None,
            "stage": "queue",
            "hint": "killed for want of memory? fewer workers, or --max-ram",
        }
        me = str(owners.this_process())
        end = End("lost", token.fails + 1, me, error=error)
        register.settle(self.queue.end_path(token.key, token.generation), end.encode())
        return self.queue.end(token.key, token.generation) or end

    def unblock(self) -> None:
        """Let go what need not wait any more."""
        self._looks += 1
        blocked = set(self.queue.tokens("blocked"))
        self._met = {token: self._met.get(token, 0) for token in blocked}
        for token in self._mine(blocked, self._looks):
            lane, after = self.queue.waits_for(token)
            state, last = self._next_state(token, after)
            if state == "quarantined":
                self._give_up(token, last)
            elif state == "done":
                self.queue.offer(token, lane)
            else:
                continue
            (self.queue.root / "blocked" / str(token)).unlink(missing_ok=True)

    def parts(self) -> tuple[int, int]:
        """How many of the items that others wait for are known to be done, and of how many."""
        total = sum(len(self.queue.waits_for(token)[1]) for token in self._met)
        return sum(self._met.values()), total

    def _next_state(self, token: Token, after: tuple[str, ...]) -> tuple[State, str]:
        """State and key of the first item a token waits for; ``done`` where all are.

        What was done in an earlier pass is not looked at again: a film has thousands of chunks.
        """
        for key in after[self._met[token] :]:
            state = self.queue.state(key)
            if state != "done":
                return state, key
            self._met[token] += 1
        return "done", ""

    def _give_up(self, token: Token, bad: str) -> None:
        """What an item waits for will not come: it fails as that did."""
        cause = self.queue.end(bad, self.queue.last(bad))
        me = str(owners.this_process())
        if register.create(self.queue.claim_path(token.key, token.generation)):
            error = None if cause is None else cause.error
            end = End("failed", token.fails + 1, me, error=error, final=True)
            register.settle(self.queue.end_path(token.key, token.generation), end.encode())
            self.queue.carry_out(token, end)
