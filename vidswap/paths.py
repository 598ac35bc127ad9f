"""Where things lie: shipped data, the user's cache, the user's weights."""

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal


def data(kind: Literal["pipelines", "weights"]) -> Traversable:
    """Folder of shipped TOML files; the same for a wheel, an editable install and a checkout."""
    bundled = files("vidswap") / "_data" / kind
    return bundled if bundled.is_dir() else Path(__file__).resolve().parents[1] / kind


def cache_dir() -> Path:
    """Folder for converted checkpoints and other rebuildable files, not created here.

    ``$VIDSWAP_CACHE``, else ``$XDG_CACHE_HOME/vidswap``, else ``~/.cache/vidswap``.
    """
    if own := os.environ.get("VIDSWAP_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vidswap"


def weights_dir() -> Path:
    """Folder that holds checkpoints: ``$VIDSWAP_WEIGHTS``, else ``weights`` in the cache."""
    own = os.environ.get("VIDSWAP_WEIGHTS")
    return Path(own) if own else cache_dir() / "weights"
