"""What a report says is the same however a run came to its end."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.run.chunked import (
    OPTIONS,
    StopError,
    stopping,
)
from vidswap import recipe as recipes
from vidswap.media.pictures import write_pictures
from vidswap.run.request import Request
from vidswap.run.swap import swap


@pytest.fixture(scope="session")
def face(folder):
    """One face that sways, and a photo of it."""
    data = pytest.importorskip("skimage.data")
    portrait = np.ascontiguousarray(data.astronaut()[:256, 96:352])

    def picture(index):
        matrix = np.float32([[1, 0, 6 * np.sin(index / 3)], [0, 1, 0]])
        return cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)

    path, photo = folder / "face.mp4", folder / "photo.png"
    write_pictures(path, map(picture, range(24)), options={"crf": "12"})
    cv2.imwrite(str(photo), portrait[..., ::-1])
    return path, photo


def test_a_report_is_the_same_after_an_interruption(face, tmp_path):
    clip, photo = face
    recipe = replace(recipes.load("mesh", OPTIONS), engine=recipes.IdentityEngine())
    reports = []
    for name in ("whole", "halves", "both"):
        part = tmp_path / name
        part.mkdir()
        workers = replace(recipe.run, workers=2 if name == "both" else 1)
        request = Request(
            clip,
            replace(recipe, run=workers),
            (photo,),
            output=part / "o.mp4",
            report=part / "r",
            work=tmp_path / "work",
        )
        if name == "halves":
            with pytest.raises(StopError):
                swap(replace(request, watch=stopping(1)))
        found = swap(request)
        assert (found["chunks"]["kept"] > 0) == (name == "halves")
        assert (found["faces"], found["swapped"]) == (24, 24)
        reports.append(
            (found["sha256"], json.loads((part / "r/report.json").read_text())["tracks"])
        )
    assert reports[0] == reports[1] == reports[2]
    assert len(reports[0][1]) == 1
