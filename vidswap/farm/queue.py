"""A queue in a folder that any number of machines share, without a server.

    items/ab/KEY.json      what is to be done
    todo/LANE/ab/TOKEN     hints: generations that may be claimed
    log/ab/KEY.N.claim     write-once: generation N belongs to whoever created this
    log/ab/KEY.N.end       write-once: how generation N ended
    active/TOKEN           heartbeat of a claimed generation, until its end is carried out
    blocked/TOKEN          waits for other items
    done/ab/KEY.N          index of what is done
    quarantine/ab/KEY.N    index of what failed too often

The two registers in ``log`` are the truth and never change. A generation is offered only once the
one before has ended, so at most one is live; an owner that is paused beyond its lease is ended by
another process writing the end first, and its own commit then fails. A commit names the renames
that follow from it, so whoever finds it unfinished can finish it. All other files are hints that
can be late, doubled or missing for a while; ``vidswap.farm.sweep`` puts them right.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidswap.errors import MediaError, StateError
from vidswap.farm import register
from vidswap.farm.token import End, Item, State, Token

VERSION = b"vidswap queue 1\n"
BEGUN_LANE = 2
"""What is begun is finished before something else is."""
RETRY_LANE = 9
"""What failed waits until everything else had its turn."""

Index = Literal["done", "quarantine"]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's folder."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "Queue":
        """Make the folder where it is missing.

        Raises:
            StateError: It is a file, or the folder of something else.
            MediaError: It cannot be written to.
        """
        mark = root / "queue"
        try:
            if not mark.exists():
                root.mkdir(parents=True, exist_ok=True)
                register.replace(mark, VERSION)
            for name in ("active", "blocked", "todo"):
                (root / name).mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StateError("is a file, expected a folder", path=root, stage="queue") from error
        except OSError as error:
            message = f"cannot be written to: {error.strerror or error}"
            raise MediaError(message, path=root, stage="queue") from error
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> "Queue":
        """A queue that exists.

        Raises:
            StateError: There is none, or one of another version.
        """
        found = register.read(root / "queue") if root.is_dir() else None
        if found is None:
            hint = "vidswap batch IN OUT makes one in OUT/.vidswap/queue"
            raise StateError("not a queue", path=root, stage="queue", hint=hint)
        if found != VERSION:
            wanted = VERSION.decode().strip()
            raise StateError(f"expected a {wanted!r}", path=root, stage="queue")
        return cls(root)

    def add(self, key: str, item: Item) -> State:
        """Add an item unless it is known; returns its state, ``unknown`` if it is new.

        Raises:
            OSError: The folder cannot be written to.
        """
        known = self.state(key)
        if known not in ("unknown", "waiting", "blocked"):
            return known
        if known == "unknown":
            register.replace(self.item_path(key), item.encode())
        # A hint that is there already, or comes too late, does no harm.
        self.offer(Token(key, 1, 0), item.lane, item.after)
        return known

    def offer(self, token: Token, lane: int, after: Sequence[str] = ()) -> None:
        """Let a generation be claimed, at once or when what it waits for is done."""
        if any(self.state(key) != "done" for key in after):
            content = json.dumps({"lane": lane, "after": list(after)}).encode()
            register.settle(self.root / "blocked" / str(token), content)
        else:
            register.create(self.root / "todo" / str(lane) / token.shard / str(token))

    def renew(self, key: str, item: Item) -> None:
        """Have an item done whatever became of it: added, tried again or done again.

        What it says may differ from before; its key tells what it is.
        """
        known = self.add(key, item)
        if known in ("done", "quarantined"):
            register.replace(self.item_path(key), item.encode())
        if known == "done":
            self.reopen(key)
        elif known == "quarantined":
            self.retry_one(key)

    def waits_for(self, token: Token) -> tuple[int, tuple[str, ...]]:
        """(lane, keys) of a blocked generation."""
        table = json.loads(register.read(self.root / "blocked" / str(token)) or b'{"after": []}')
        return int(table.get("lane", BEGUN_LANE)), tuple(table["after"])

    def item(self, key: str) -> Item:
        """What is to be done.

        Raises:
            StateError: It is missing or damaged.
        """
        path = self.item_path(key)
        return Item.decode(register.read(path) or b"", str(path))

    def state(self, key: str) -> State:
        """What became of an item, read from its registers."""
        last = self.last(key)
        if last == 0:
            if not self.item_path(key).exists():
                return "unknown"
            blocked = (self.root / "blocked" / str(Token(key, 1, 0))).exists()
            return "blocked" if blocked else "waiting"
        end = self.end(key, last)
        if end is None:
            return "active"
        if end.outcome == "commit":
            # In this order: what is carried out is entered in the index before it stops being active.
            if (self.root / "active" / str(Token(key, last, end.fails))).exists():
                return "active"
            return "done" if self._index("done", key, last).exists() else "waiting"
        return "quarantined" if self._index("quarantine", key, last).exists() else "waiting"

    def last(self, key: str) -> int:
        """Last generation that was claimed, 0 for none."""
        generation = 0
        while self.claim_path(key, generation + 1).exists():
            generation += 1
        return generation

    def end(self, key: str, generation: int) -> End | None:
        """How a generation ended; None while it has not."""
        data = register.read(self.end_path(key, generation))
        return None if data is None else End.decode(data)

    def hints(self, salt: int = 0) -> Iterator[Path]:
        """Hints lane by lane, one folder at a time; folders that are empty are removed.

        Args:
            salt: Each worker looks through the folders in an order of its own, always the same: they
                rarely meet, and one stays with the chunks of one clip.
        """
        for lane in sorted(_names(self.root / "todo")):
            shards = _names(self.root / "todo" / lane)
            shards.sort(key=lambda shard: zlib.crc32(f"{salt}{shard}".encode()))
            for shard in shards:
                folder = self.root / "todo" / lane / shard
                with suppress(FileNotFoundError), os.scandir(folder) as entries:
                    for entry in entries:
                        yield Path(entry.path)
                with suppress(OSError):
                    folder.rmdir()

    def tokens(self, name: Literal["active", "blocked"]) -> Iterator[Token]:
        """Generations that are worked on, or wait for others."""
        with os.scandir(self.root / name) as entries:
            yield from filter(None, (Token.parse(entry.name) for entry in entries))

    def index(self, name: Index) -> Iterator[tuple[str, int]]:
        """(key, generation) of what is done or in quarantine."""
        for shard in _names(self.root / name):
            with os.scandir(self.root / name / shard) as entries:
                for entry in entries:
                    key, _, generation = entry.name.partition(".")
                    if key and generation.isdigit():
                        yield key, int(generation)

    def drained(self) -> bool:
        """Whether nothing is left to claim, nothing is worked on and nothing waits."""
        return not any(
            # In the order in which items move, and the first place again for those that come back.
            any(True for _ in place())
            for place in (
                self._offered,
                lambda: self.tokens("blocked"),
                lambda: self.tokens("active"),
                self._offered,
            )
        )

    def _offered(self) -> Iterator[Token]:
        return filter(None, (Token.parse(path.name) for path in self.hints()))

    def carry_out(self, token: Token, end: End) -> None:
        """Do what follows from an end; any process may, and more than one.

        Raises:
            OSError: Files cannot be renamed.
        """
        if end.outcome == "commit":
            self._finish(token, end)
        elif not self.claim_path(token.key, token.generation + 1).exists():
            self._go_on(token, end)
        (self.root / "active" / str(token)).unlink(missing_ok=True)

    def _finish(self, token: Token, end: End) -> None:
        for source, target in end.moves:
            register.move(Path(source), Path(target))
        for folder in end.removes:
            shutil.rmtree(folder, ignore_errors=True)
        register.create(self._index("done", token.key, token.generation))

    def _go_on(self, token: Token, end: End) -> None:
        try:
            item = self.item(token.key)
        except StateError:
            item = Item("damaged", {}, attempts=0)
        if end.final or end.fails >= item.attempts:
            register.create(self._index("quarantine", token.key, token.generation))
            return
        lane = RETRY_LANE if end.outcome == "failed" else item.lane
        lane = BEGUN_LANE if end.after else lane
        self.offer(Token(token.key, token.generation + 1, end.fails), lane, end.after)

    def retry(self) -> int:
        """Take every item out of quarantine; returns how many."""
        keys = {key for key, _ in self.index("quarantine")}
        return sum(map(self.retry_one, sorted(keys)))

    def retry_one(self, key: str) -> bool:
        """Take an item out of quarantine; whether it was there."""
        last = self.last(key)
        place = self._index("quarantine", key, last)
        if not place.exists():
            return False
        item = self.item(key)
        self.offer(Token(key, last + 1, 0), item.lane, item.after)
        place.unlink(missing_ok=True)
        return True

    def reopen(self, key: str) -> None:
        """Do an item again that is done."""
        last = self.last(key)
        end = self.end(key, last) if last else None
        if end is not None and end.outcome == "commit":
            self._index("done", key, last).unlink(missing_ok=True)
            item = self.item(key)
            self.offer(Token(key, last + 1, 0), item.lane, item.after)

    def item_path(self, key: str) -> Path:
        """File of an item."""
        return self.root / "items" / key[:2] / f"{key}.json"

    def claim_path(self, key: str, generation: int) -> Path:
        """Register that says a generation is taken."""
        return self.root / "log" / key[:2] / f"{key}.{generation}.claim"

    def end_path(self, key: str, generation: int) -> Path:
        """Register that says how a generation ended."""
        return self.root / "log" / key[:2] / f"{key}.{generation}.end"

    def _index(self, name: Index, key: str, generation: int) -> Path:
        return self.root / name / key[:2] / f"{key}.{generation}"


def _names(folder: Path) -> list[str]:
    """Names in a folder that may be missing, drafts left out."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    return []
