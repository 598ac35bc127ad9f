"""Taking an item, keeping it alive, and ending it once."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vidswap.errors import StateError
from vidswap.farm import register
from vidswap.farm.owner import Owner
from vidswap.farm.queue import Queue
from vidswap.farm.token import End, FencedError, Item, Token, describe_error

BEATS = 4
"""Heartbeats in the length of a lease."""


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A generation that this process owns until it ends it or is fenced off."""

    queue: Queue
    token: Token
    item: Item
    owner: Owner
    lost: threading.Event = field(default_factory=threading.Event)
    """Set once another process has ended this generation."""

    @property
    def _active(self) -> Path:
        return self.queue.root / "active" / str(self.token)

    @contextmanager
    def beating(self, lease: float) -> Iterator[None]:
        """Keep the claim alive from a thread of its own for the length of the block.

        Args:
            lease: Seconds without a heartbeat after which others may take the item over.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(lease / BEATS, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=lease)

    def _beat(self, every: float, stop: threading.Event) -> None:
        count = 0
        while not stop.wait(every):
            count += 1
            if self.is_lost():
                return
            try:
                # Never created again: an entry that is gone belongs to nobody any more.
                with self._active.open("r+b") as file:
                    file.write(heartbeat(self.owner, count))
            except FileNotFoundError:
                self.is_lost()
            except OSError:
                continue  # a server that is away for a moment; the lease decides

    def is_lost(self) -> bool:
        """Look whether another process has ended this generation."""
        if not self.lost.is_set() and self.queue.end_path(*self.token[:2]).exists():
            self.lost.set()
        return self.lost.is_set()

    def check(self) -> None:
        """Raise once the claim is lost, as far as is known here; costs nothing.

        Raises:
            FencedError: Another worker has the item.
        """
        if self.lost.is_set():
            raise FencedError("another worker has taken this item over", stage="queue")

    def commit(
        self,
        moves: Sequence[tuple[Path, Path]] = (),
        result: Mapping[str, Any] | None = None,
        removes: Sequence[Path] = (),
    ) -> None:
        """Make the work count, once and for ever, and rename its files into place.

        Args:
            moves: (from, to), on one file system; the files are on the disk already.
            result: Facts to keep.
            removes: Folders to remove afterwards.

        Raises:
            FencedError: Another worker has the item; nothing is renamed.
            OSError: The decision is made, and carrying it out failed; a sweep will do it.
        """
        pairs = tuple((str(a), str(b)) for a, b in moves)
        end = End("commit", self.token.fails, str(self.owner), pairs, tuple(map(str, removes)))
        self._end(replace(end, result=dict(result or {})))

    def fail(self, error: BaseException, *, final: bool = False) -> None:
        """Count an attempt as failed; the item goes on, or to quarantine.

        Args:
            error: Why.
            final: It would fail again.

        Raises:
            FencedError: Another worker has the item.
        """
        fails = self.token.fails + 1
        described = describe_error(error)
        self._end(End("failed", fails, str(self.owner), error=described, final=final))

    def wait_for(self, keys: Sequence[str]) -> None:
        """Give the item back until others are done; no attempt is counted.

        Raises:
            FencedError: Another worker has the item.
        """
        self._end(End("released", self.token.fails, str(self.owner), after=tuple(keys)))

    def release(self) -> None:
        """Give the item back without an attempt being counted; nothing if it was lost."""
        try:
            self._end(End("released", self.token.fails, str(self.owner)))
        except FencedError:
            return

    def _end(self, end: End) -> None:
        if not register.settle(self.queue.end_path(*self.token[:2]), end.encode()):
            self.lost.set()
            self.check()
        # From here on the heartbeat would only find its own end.
        self.queue.carry_out(self.token, end)


def claim(queue: Queue, owner: Owner, salt: int = 0) -> Claim | None:
    """Take an item that waits; None where there is none.

    Args:
        queue: The queue.
        owner: This process.
        salt: Decides in which order folders are looked through.

    Raises:
        OSError: The queue cannot be written to.
    """
    for hint in queue.hints(salt):
        token = Token.parse(hint.name)
        if token is None:
            continue
        mine = register.create(queue.claim_path(token.key, token.generation))
        if mine or queue.end(token.key, token.generation) is None:
            # Somebody else's claim too: it may have died before it said so.
            announce(queue, token, owner if mine else None)
        hint.unlink(missing_ok=True)
        if not mine:
            continue
        try:
            item = queue.item(token.key)
        except StateError as error:
            Claim(queue, token, Item("damaged", {}), owner).fail(error, final=True)
            continue
        return Claim(queue, token, item, owner)
    return None


def announce(queue: Queue, token: Token, owner: Owner | None) -> None:
    """Enter a generation among those that are worked on, so that its end will be seen to."""
    path = queue.root / "active" / str(token)
    if owner is not None:
        path.write_bytes(heartbeat(owner, 0))
    else:
        register.create(path)


def heartbeat(owner: Owner, count: int) -> bytes:
    """Content of an active entry; only that it changes matters, not what time it is anywhere."""
    return json.dumps({"beat": f"{count:012d}", "owner": owner.describe()}).encode()
