"""Things before a face: a hand, a microphone. They belong to the scene and know no identity."""

import numpy as np

from vidswap.synth.params import Scene
from vidswap.synth.parts import HAND, MIC, Part, ball, tube
from vidswap.types import F64

BEFORE_FACE = -1.05
"""z of an occluder from the head's middle: just before the nose."""
FINGERS = ((-0.27, -0.78), (-0.10, -0.95), (0.08, -0.92), (0.25, -0.74))
"""Tips of the four fingers from the palm's middle."""


def occluder(scene: Scene) -> list[Part]:
    """Parts of the occluder around the head's middle, camera axes; none if the scene has none."""
    if scene.occluder < 1 / 3:
        return []
    parts = _hand() if scene.occluder < 2 / 3 else _microphone()
    a = np.radians(scene.occluder_turn)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    where = np.array([scene.occluder_x, scene.occluder_y, BEFORE_FACE])
    return [p._replace(points=p.points @ turn.T + where) for p in parts]


def _hand() -> list[Part]:
    found = [ball(np.zeros(3), np.array([0.34, 0.40, 0.13]), HAND)]
    for x, y in FINGERS:
        root = np.array([x * 0.95, -0.22, 0.0])
        found += _finger(root, np.array([x * 1.25, y, -0.02]), 0.085)
    found += _finger(np.array([0.24, 0.12, 0.0]), np.array([0.62, -0.22, -0.05]), 0.095)
    arm = np.linspace([0.0, 0.25, 0.02], [0.1, 3.2, 0.25], 6)
    return [*found, tube(arm, 0.24, False, HAND)]


def _finger(root: F64, tip: F64, thickness: float) -> list[Part]:
    t = np.linspace(0, 1, 6)[:, None]
    path = root + (tip - root) * t + np.array([0, 0, -0.05]) * np.sin(np.pi * t)
    return [tube(path, thickness, False, HAND), ball(tip, np.full(3, thickness), HAND)]


def _microphone() -> list[Part]:
    stick = np.linspace([0.0, 0.2, 0.0], [0.0, 2.4, 0.5], 6)
    return [ball(np.zeros(3), np.array([0.24, 0.29, 0.24]), MIC), tube(stick, 0.11, False, MIC)]
