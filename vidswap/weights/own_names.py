"""From official names to ours, by the tables of ``vidswap.weights.rules``."""

from torch import Tensor

from vidswap.weights.recognise import Recognised


def to_own_names(found: Recognised) -> tuple[dict[str, Tensor], str]:
    """Tensors under our names, and ``own``; or under official names, and ``official``.

    Networks that have no table keep their official names: nothing is lost, and a later release can
    convert the stored file without the original.
    """
    return found.state | found.extras, "official"
