"""One file over HTTP: resumed with ``Range``, hashed as it comes, retried within bounds."""

import hashlib
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol

from vidswap.errors import WeightsError
from vidswap.weights.cache import BLOCK, Progress

STAGE = "fetch"
_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class Opener(Protocol):
    """What opens a request: ``urllib`` in production."""

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        """Send a request; returns its response or raises ``urllib.error`` exceptions."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download may be tried."""

    timeout: float = 30.0
    """Seconds a connection may be silent."""
    attempts: int = 5
    """Failures in a row, without a byte between them, after which an address is given up."""
    delay: float = 1.0
    """Seconds before the second attempt; doubles each time."""
    longest: float = 30.0
    """Seconds waited at most, whatever the server asks for."""
    sleep: Callable[[float], None] = time.sleep


class GiveUpError(Exception):
    """This address will not deliver; another may."""


class _AgainError(Exception):
    """This attempt failed; the same address may deliver."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(reason)


class _SameSecurity(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            reason = "redirected to an unencrypted address"
            raise urllib.error.HTTPError(newurl, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def web_opener() -> Opener:
    """HTTP and HTTPS with the system's proxies; neither files nor FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameSecurity(),
    ):
        opener.add_handler(handler)
    return opener


class Part:
    """Bytes that have arrived, with their running digest and the server's validator for them."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._tag = target.with_name(f"{target.name}.part.tag")
        self.size = 0
        self._digest = hashlib.sha256()
        if self.path.exists():
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    self._count(block)

    def _count(self, block: bytes) -> None:
        self._digest.update(block)
        self.size += len(block)

    @property
    def sha256(self) -> str:
        """Digest of what is there."""
        return self._digest.hexdigest()

    @property
    def tag(self) -> str:
        """Strong ETag or date of the bytes; empty if the server gave none."""
        return self._tag.read_text(encoding="utf-8") if self._tag.exists() else ""

    @tag.setter
    def tag(self, value: str) -> None:
        self._tag.write_text(value, encoding="utf-8")

    def append(self, file: IO[bytes], block: bytes) -> None:
        """Write and hash a block."""
        file.write(block)
        self._count(block)

    def discard(self) -> None:
        """Start from nothing."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
        self.size, self._digest = 0, hashlib.sha256()

    def become(self, target: Path) -> None:
        """Give the complete file its name."""
        self.path.replace(target)
        self._tag.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Download:
    """A file that may come from several addresses.

    Attributes:
        target: Name of the complete file.
        part: What has arrived.
        digests: SHA-256 the file may have; empty where none is known.
        sizes: Bytes the file may have; empty where unknown.
    """

    target: Path
    part: Part
    digests: frozenset[str]
    sizes: frozenset[int]
    patience: Patience
    opener: Opener
    progress: Progress

    def from_url(self, url: str) -> None:
        """Complete the file from one address.

        Raises:
            GiveUpError: It does not deliver, or delivers another file.
            WeightsError: The disk is full or cannot be written.
        """
        failures = 0
        while True:
            before = self.part.size
            try:
                if not (self.part.size in self.sizes and self.part.sha256 in self.digests):
                    self._attempt(url)
                self._finish()
            except _AgainError as error:
                failures = 1 if self.part.size > before else failures + 1
                if failures >= self.patience.attempts:
                    raise GiveUpError(f"{error} ({failures} attempts)") from error
                wait = max(error.wait, self.patience.delay * 2 ** (failures - 1))
                self.patience.sleep(min(wait, self.patience.longest))
            except OSError as error:
                reason = error.strerror or str(error)
                raise WeightsError(
                    f"cannot be written: {reason}", path=self.part.path, stage=STAGE
                ) from error
            else:
                return

    def _attempt(self, url: str) -> None:
        """One request; what comes is appended to the part."""
        tag = self.part.tag
        if self.part.size and not (tag or self.digests):
            # Nothing would notice that the file has changed on the server meanwhile.
            self.part.discard()
        with self._open(self._request(url, tag)) as response:
            if response is None:
                return
            begins = f"bytes {self.part.size}-"
            resumed = response.status == 206 and (
                (response.headers.get("Content-Range") or begins).startswith(begins)
            )
            if self.part.size and not resumed:
                self.part.discard()
                if response.status == 206:
                    raise _AgainError("the host sent another range than was asked for")
            self._check_headers(response.headers)
            self._receive(response)

    def _request(self, url: str, tag: str) -> urllib.request.Request:
        headers = {"User-Agent": "vidswap", "Accept-Encoding": "identity"}
        if self.part.size:
            headers["Range"] = f"bytes={self.part.size}-"
            if tag:
                headers["If-Range"] = tag
        return urllib.request.Request(url, headers=headers)

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return self.opener.open(request, timeout=self.patience.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                if error.headers.get("Content-Range", "").endswith(f"/{self.part.size}"):
                    return nullcontext()
                self.part.discard()
                raise _AgainError("what had arrived was longer than the file") from None
            reason = f"HTTP {error.code} {error.reason}"
            if error.code in _RETRY:
                raise _AgainError(reason, _seconds(error.headers)) from None
            raise GiveUpError(reason) from None
        except urllib.error.URLError as error:
            raise _AgainError(str(error.reason)) from None
        except (OSError, HTTPException) as error:
            raise _AgainError(str(error) or type(error).__name__) from None

    def _check_headers(self, headers: Message) -> None:
        if headers.get_content_type() == "text/html":
            raise GiveUpError("the host sent a web page instead of the file")
        length = _length(headers)
        total = self.part.size + length
        if length and self.sizes and total not in self.sizes:
            wanted = " or ".join(map(str, sorted(self.sizes)))
            raise GiveUpError(f"the file there has {total} bytes, expected {wanted}")
        free = shutil.disk_usage(self.target.parent).free
        if length > free:
            raise WeightsError(
                f"{length} bytes are to come, the disk has {free} left",
                path=self.target,
                stage=STAGE,
            )
        tag = headers.get("ETag") or headers.get("Last-Modified") or ""
        # A weak validator does not promise the same bytes.
        self.part.tag = "" if tag.startswith("W/") else tag

    def _receive(self, response: Any) -> None:
        left = _length(response.headers)
        most = max(self.sizes, default=None)
        with self.part.path.open("ab") as file:
            while most is None or self.part.size <= most:
                try:
                    block = response.read(BLOCK)
                except (OSError, HTTPException) as error:
                    raise _AgainError(f"the connection broke: {error}") from None
                if not block:
                    break
                self.part.append(file, block)
                left -= len(block)
                self.progress(self.part.size, self.part.size + max(left, 0))
            file.flush()
            os.fsync(file.fileno())
        if left > 0:
            raise _AgainError(f"the connection broke {left} bytes before the end")

    def _finish(self) -> None:
        """Check what has arrived and give it its name."""
        found = self.part.sha256
        if self.digests and found not in self.digests:
            self.part.discard()
            wanted = " or ".join(sorted(self.digests))
            raise GiveUpError(f"wrong file: sha256 is {found}, expected {wanted}")
        if not self.part.size:
            raise GiveUpError("the host sent nothing")
        self.part.become(self.target)


def _length(headers: Message) -> int:
    text = headers.get("Content-Length") or "0"
    return int(text) if text.isdecimal() else 0


def _seconds(headers: Message) -> float:
    text = headers.get("Retry-After") or "0"
    return float(text) if text.isdecimal() else 0.0
