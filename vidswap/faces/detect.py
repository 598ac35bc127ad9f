"""What a detector is, and the ones there are.

Two searches: ``detect`` looks everywhere at every scale and is slow; ``glance`` looks at the whole
picture once and is cheap. Tracking needs the first only where a shot starts or a face was lost.
"""

from typing import Protocol

from vidswap.faces.blazeface import MediaPipeDetector
from vidswap.faces.graph import available, digest, missing
from vidswap.faces.tiling import Wanted, everywhere
from vidswap.recipe import DetectOptions
from vidswap.types import U8, Box, Face


class Detector(Protocol):
    """Finds faces; holds a network, so close it."""

    name: str

    def detect(
        self, rgb: U8, wanted: Wanted = everywhere, smallest: float | None = None
    ) -> list[Face]:
        """Search everywhere, at every scale down to the smallest face that is wanted.

        Args:
            rgb: (H, W, 3) upright picture.
            wanted: Says of a part of the picture whether it need be looked at.
            smallest: Height in pixels of the smallest face that is looked for, None for the options':
                what is smaller may be found all the same.

        Returns:
            Faces, best score first.
        """
        ...

    def glance(self, rgb: U8) -> list[Face]:
        """Cheap search of the picture as a whole: large faces only."""
        ...

    def near(self, rgb: U8, box: Box) -> list[Face]:
        """Cheap search of one square, which may reach outside the picture."""
        ...

    def close(self) -> None:
        """Release the network."""
        ...


def open_detector(options: DetectOptions) -> Detector:
    """The detector that ``options.name`` names.

    Raises:
        WeightsError: It is not installed; says how to get one.
    """
    if options.name == "scrfd":
        # InsightFace loads onnxruntime: only for those who asked for it.
        from vidswap.faces.scrfd import ScrfdDetector

        return ScrfdDetector(options)
    if not available():
        raise missing()
    return MediaPipeDetector(options)


def detector_digest(options: DetectOptions) -> str:
    """Digest of the weights that ``open_detector`` would load, without loading them.

    Raises:
        WeightsError: They are not installed.
    """
    if options.name == "scrfd":
        from vidswap.faces.scrfd import scrfd_digest

        return f"{digest()}+{scrfd_digest()}"
    return digest()
