"""The output of a run: edited frames in, a complete file out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vidswap.errors import MediaError
from vidswap.media.containers import SUFFIXES, check_streams
from vidswap.media.encode import Encoder, EncoderPlan
from vidswap.media.frame import Frame
from vidswap.media.remux import Muxer, Record
from vidswap.media.timeline import timeline
from vidswap.types import VideoInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["Record", "Writer", "check_streams"]


class Writer:
    """Encodes frames and muxes them with everything else of the source, in one pass.

    Args:
        info: The source clip.
        plan: The encoder.
        path: Temporary file to write.
        container: FFmpeg's muxer name or a file suffix; ``path`` may have any other.
        start: First frame that will be written.
        stop: One past the last frame.
        metadata: Container tags that are added or replaced.

    Raises:
        MediaError: A stream does not fit, or the file cannot be made.
    """

    def __init__(
        self,
        info: VideoInfo,
        plan: EncoderPlan,
        path: Path,
        *,
        container: str,
        start: int = 0,
        stop: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._info, self._path = info, Path(path)
        self._next, self._stop = start, info.frames if stop is None else stop

        def video(out: OutputContainer) -> VideoStream:
            self._encoder = Encoder(out, info, plan)
            return self._encoder.stream

        self._muxer = Muxer(
            info,
            self._path,
            container=SUFFIXES.get(container, container),
            line=timeline(info, start, self._stop),
            video=video,
            metadata=metadata,
        )

    @property
    def record(self) -> Record:
        """What was written so far, for ``verify``."""
        return self._muxer.record

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about converted or omitted streams."""
        return tuple(self._muxer.notes)

    def write(self, frame: Frame) -> None:
        """Encode the next frame.

        Raises:
            MediaError: The encoder, the disk or the source fails.
            ValueError: It is not the next frame.
        """
        if frame.index != self._next or frame.index >= self._stop:
            raise ValueError(f"frame {self._next} expected, got frame {frame.index}")
        self._next += 1
        self.record.luma.append(frame.mean_luma())
        self._muxer.write(self._encoder.encode(frame))

    def finish(self) -> None:
        """Write what the encoder and the source still hold, and close the file.

        Raises:
            MediaError: Frames are missing, or the encoder, the disk or the source fails.
        """
        if self._next != self._stop:
            raise MediaError(
                f"frame {self._next} to {self._stop - 1} were never written",
                path=self._path,
                stage="write",
            )
        self._muxer.write(self._encoder.flush())
        self._muxer.finish()

    def abort(self) -> None:
        """Close everything and delete the partial file."""
        self._muxer.abort()
