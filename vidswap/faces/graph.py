"""Runs MediaPipe's calculators on our own pictures and regions.

MediaPipe's ready-made solutions choose the regions themselves, from the frame before, and shrink
large faces without a low pass; both show as jitter. A graph of our own takes any region of any
picture, answers several at once, and hands out the presence logit.

The models come with the wheel (Apache-2.0). Nothing is downloaded.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vidswap.errors import WeightsError
from vidswap.types import U8

HOW_TO_GET = (
    "MediaPipe 0.10.21 carries the face models and needs Python 3.11 or 3.12: use one of these and "
    "`pip install mediapipe==0.10.21`; an InsightFace pack (--detector scrfd) replaces the detector, "
    "not the face mesh"
)
MODELS = (
    "face_landmark/face_landmark_with_attention.tflite",
    "face_detection/face_detection_short_range.tflite",
    "face_detection/face_detection_full_range_sparse.tflite",
)
_NOISE = re.compile(
    rb"^(INFO: Created TensorFlow Lite|WARNING: All log messages before absl|[IW]\d{4} \d\d:\d\d:).*\n?",
    re.MULTILINE,
)


def available() -> bool:
    """Whether MediaPipe and the models of its wheel are installed; imports nothing heavy."""
    folder = _folder()
    return folder is not None and all((folder / "modules" / m).is_file() for m in MODELS)


def digest() -> str:
    """Digest of the model files, part of an analysis' key.

    Raises:
        WeightsError: MediaPipe or its models are missing.
    """
    folder = _folder()
    if folder is None or not available():
        raise missing()
    files = [folder / "modules" / model for model in MODELS]
    return _digest(tuple((f, f.stat().st_mtime_ns, f.stat().st_size) for f in files))


@lru_cache(maxsize=1)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Several keys of one run ask for it; times and sizes tell when a file is another one."""
    total = sha256()
    for path, *_ in files:
        total.update(path.read_bytes())
    return f"mediapipe-{total.hexdigest()[:16]}"


def missing() -> WeightsError:
    """The error for a machine without a detector."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = "without face models" if find_spec("mediapipe") else "missing"
    message = f"no face detector: mediapipe is {found} on this Python {version}"
    return WeightsError(message, stage="detect", hint=HOW_TO_GET)


def _folder() -> Path | None:
    spec = find_spec("mediapipe")
    return Path(spec.origin).parent if spec and spec.origin else None


class _Deferred(ModuleType):
    """A package whose own code runs when something is asked of it that only that code defines."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        asked = not name.startswith("__") or name == "__version__"
        if spec is None or spec.loader is None or not asked:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec.loader.exec_module(self)
        return getattr(self, name)


def _defer() -> None:
    """Keep MediaPipe's ready-made solutions out of the process until somebody asks for them.

    Its package imports all of them, and with them Matplotlib and a library for sound: a second and
    40 MB for every process, and a graph needs none. Whoever imports ``mediapipe`` later gets all of it.
    """
    spec = find_spec("mediapipe")
    if "mediapipe" in sys.modules or spec is None or spec.submodule_search_locations is None:
        return
    package = _Deferred("mediapipe")
    package.__spec__, package.__loader__ = spec, spec.loader
    package.__file__, package.__package__ = spec.origin, "mediapipe"
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["mediapipe"] = package


class Graph:
    """One running MediaPipe graph with an ``image`` input; the outputs are read after each batch.

    Args:
        config: The graph in protobuf text format.
        outputs: Its output streams, each with what it holds: ``float``, ``proto_list``, or
            ``landmarks`` for points that are handed over as an (N, 3) float64 array.
        size: Side of a black picture that is sent through once, so that start-up costs and
            start-up messages come here.
        regions: Whether the graph also takes a ``roi`` stream of ``NormalizedRect``.

    Raises:
        WeightsError: MediaPipe or its models are missing or do not start.
    """

    def __init__(
        self, config: str, outputs: Mapping[str, str], size: int, *, regions: bool = False
    ) -> None:
        if not available():
            raise missing()
        self._time = 0
        self._kinds = dict(outputs)
        self._got: list[tuple[int, str, Any]] = []
        with _quiet():
            self._start(config)
            black = np.zeros((size, size, 3), np.uint8)
            self.run([black], [[(0.5, 0.5, 1.0, 1.0, 0.0)]] if regions else None)

    def _start(self, config: str) -> None:
        _defer()
        try:
            import mediapipe.python as mp
            from google.protobuf import text_format

            # The text format knows the options of those calculators alone whose modules are loaded,
            # and packets are read as those messages alone.
            from mediapipe.calculators.core import split_vector_calculator_pb2  # noqa: F401
            from mediapipe.calculators.tensor import (
                image_to_tensor_calculator_pb2,  # noqa: F401
                inference_calculator_pb2,  # noqa: F401
            )
            from mediapipe.framework import calculator_pb2
            from mediapipe.framework.formats import (
                detection_pb2,  # noqa: F401
                landmark_pb2,  # noqa: F401
                rect_pb2,
            )
            from mediapipe.python._framework_bindings import (
                calculator_graph,
                resource_util,
            )
        except ImportError as error:
            raise WeightsError(f"mediapipe does not load: {error}", hint=HOW_TO_GET) from error
        self._mp, self._rect = mp, rect_pb2.NormalizedRect
        resource_util.set_resource_dir(str(Path(mp.__file__).parents[2]))
        parsed = text_format.Parse(config, calculator_pb2.CalculatorGraphConfig())
        try:
            self._graph = calculator_graph.CalculatorGraph(graph_config=parsed)
            for name in self._kinds:
                self._graph.observe_output_stream(name, self._receive)
            self._graph.start_run()
        except RuntimeError as error:
            raise WeightsError(
                f"mediapipe's graph does not start: {error}", stage="detect"
            ) from None

    def _receive(self, name: str, packet: Any) -> None:
        self._got.append((packet.timestamp.value, name, packet))

    def run(
        self,
        pictures: Sequence[U8],
        regions: Sequence[Sequence[tuple[float, float, float, float, float]]] | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """Send pictures through, once for each of their regions.

        Args:
            pictures: (H, W, 3) RGB each, of any sizes.
            regions: For each picture, regions as centre x, y, width, height, all relative to the
                picture, and the clockwise angle in radians. None where the graph takes none.

        Returns:
            One mapping of stream name to content for every pass, in order; a stream that said
            nothing is absent.
        """
        first = self._time + 1
        for number, picture in enumerate(pictures):
            packet = self._mp.packet_creator.create_image_frame(
                image_format=self._mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
            )
            for region in regions[number] if regions is not None else (None,):
                self._time += 1
                self._graph.add_packet_to_input_stream("image", packet.at(self._time))
                if region is not None:
                    names = ("x_center", "y_center", "width", "height", "rotation")
                    rect = self._rect(**dict(zip(names, map(float, region), strict=True)))
                    roi = self._mp.packet_creator.create_proto(rect).at(self._time)
                    self._graph.add_packet_to_input_stream("roi", roi)
        self._graph.wait_until_idle()
        answers: list[dict[str, Any]] = [{} for _ in range(self._time + 1 - first)]
        for stamp, name, packet in self._got:
            answers[stamp - first][name] = self._content(packet, self._kinds[name])
        self._got.clear()
        return answers

    def _content(self, packet: Any, kind: str) -> Any:
        getter = self._mp.packet_getter
        if kind != "landmarks":
            return getattr(getter, f"get_{kind}")(packet)
        # Half the cost of a pass's Python side is the parsing of 478 small messages. Each is 17
        # bytes with fixed tags, so that the message is an array in disguise.
        raw = getter._packet_getter._get_serialized_proto(packet)
        table = np.frombuffer(raw, np.uint8)
        if len(table) % 17 == 0 and (table := table.reshape(-1, 17))[:, :3].tobytes() == (
            b"\n\x0f\r" * len(table)
        ):
            columns = [table[:, k : k + 4].copy().view("<f4")[:, 0] for k in (3, 8, 13)]
            return np.stack(columns, -1).astype(np.float64)
        listed = getter.get_proto(packet).landmark
        return np.array([(p.x, p.y, p.z) for p in listed], np.float64)

    def close(self) -> None:
        """Stop the graph's threads."""
        self._graph.close_all_packet_sources()
        self._graph.wait_until_done()
        # It holds us by its callbacks, where Python's collector cannot see it: 20 MB each.
        del self._graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow Lite's start-up chatter off the user's terminal.

    It is written by C++ straight to file descriptor 2 and knows no switch, so the descriptor points
    to a file for the fraction of a second a graph needs to start. Whatever else was written
    meanwhile is passed on afterwards.
    """
    try:
        saved = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                if rest := _NOISE.sub(b"", file.read()):
                    os.write(2, rest)
    finally:
        os.close(saved)
