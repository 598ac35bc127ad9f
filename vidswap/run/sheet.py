"""Drawing for contact sheets and previews: labelled rows of pictures on a white page."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidswap.errors import RecipeError
from vidswap.run.job import producing_output
from vidswap.types import U8, Box

MARGIN = 16
"""Pixels around the page."""
INK, PALE, ACCENT, ALARM = (34, 34, 34), (225, 228, 232), (38, 110, 190), (205, 60, 40)
"""RGB."""


class Page:
    """A page that grows downwards.

    Args:
        width: Pixels, margins included.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._image = Image.new("RGB", (width, 256), "white")
        self._draw = ImageDraw.Draw(self._image)
        self.top = MARGIN

    def need(self, height: int) -> None:
        """Make room for this many pixels below ``top``."""
        wanted = self.top + height + MARGIN
        if wanted > self._image.height:
            grown = Image.new("RGB", (self.width, wanted + 512), "white")
            grown.paste(self._image, (0, 0))
            self._image, self._draw = grown, ImageDraw.Draw(grown)

    def text(self, left: int, top: int, text: str, size: int = 15) -> None:
        """Write a line; ``top`` counts from the page's ``top``."""
        font = ImageFont.load_default(size)
        self._draw.text((left, self.top + top), text, fill=INK, font=font)

    def picture(self, left: int, top: int, rgb: U8) -> None:
        """Place an 8-bit picture."""
        self._image.paste(Image.fromarray(rgb), (left, self.top + top))

    def bar(self, box: Box, colour: tuple[int, int, int]) -> None:
        """Fill a box; rows count from the page's ``top``."""
        if box.width and box.height:
            at = (box.left, self.top + box.top, box.right - 1, self.top + box.bottom - 1)
            self._draw.rectangle(at, fill=colour)

    def save(self, path: Path, *, overwrite: bool) -> None:
        """Write a PNG; nothing half-written is ever there.

        Raises:
            StateError: It exists and ``overwrite`` is off.
            MediaError: It cannot be written.
        """
        whole = self._image.crop((0, 0, self.width, self.top + MARGIN))
        with producing_output(path, overwrite=overwrite) as part:
            whole.save(part, "PNG")


def check_png(path: Path) -> None:
    """Refuse a name that says the picture is something else.

    Raises:
        RecipeError: Its suffix is not ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise RecipeError(
            f"pictures are written as PNG, not as {path.suffix or 'a file without suffix'}",
            path=path,
            stage="output",
            hint=f"--output {path.with_suffix('.png')}",
        )


def square(rgb: U8, side: int) -> U8:
    """A picture fitted into a square on grey."""
    image = Image.fromarray(rgb)
    image.thumbnail((side, side))
    out = np.full((side, side, 3), PALE, np.uint8)
    top, left = (side - image.height) // 2, (side - image.width) // 2
    out[top : top + image.height, left : left + image.width] = np.asarray(image)
    return out
