"""What the target's light makes of a photograph's greys, shadows and borders."""

import cv2
import numpy as np
import pytest

from vidswap.engines.mesh.light import depth_within, relight
from vidswap.engines.mesh.plan import wide_alpha
from vidswap.engines.mesh.regions import depth_inside, features, polygon
from vidswap.faces.vertices import BROWS, LIPS_INNER, LIPS_OUTER

SIZE = 256
PINK = np.array((0.72, 0.52, 0.46), np.float32)


def plain(colour):
    return np.full((SIZE, SIZE, 3), colour, np.float32)


@pytest.fixture(scope="module")
def oval():
    return (depth_inside(SIZE) > 0).astype(np.float32)


def test_grey_brows_of_yellowed_skin_turn_brown_and_not_violet(oval):
    photo = plain((0.7, 0.56, 0.3))
    brows = np.max([polygon(b, SIZE) for b in BROWS], 0) > 0
    photo[brows] = 0.25  # under the same varnish as the skin, grey is what is bluish
    out = relight(photo, oval, plain(PINK), oval, 1.0)
    brow = np.median(out[cv2.erode(brows.astype(np.uint8), np.ones((5, 5))) > 0], 0)
    assert brow.mean() < 0.75 * PINK.mean()
    red, green, blue = np.log(brow / PINK)
    assert blue - red < 0.08
    assert (red + blue) / 2 - green < 0.08


def test_a_textures_last_skin_beside_hair_lies_in_no_shadow(oval):
    """As dark as the target at the border of what is known, and the photo's own a little inside."""
    x = np.arange(SIZE) / SIZE
    hair = 0.28
    shadow = 1 - 0.4 * np.exp(-((np.maximum(x - hair, 0) / 0.06) ** 2))
    photo = plain(PINK) * shadow[None, :, None].astype(np.float32)
    valid = oval * (x > hair)
    whole = np.minimum(valid, valid[:, ::-1])
    photo = np.minimum(photo, photo[:, ::-1])
    out = relight(photo, whole, plain(PINK), oval, 1.0)
    row = slice(int(0.55 * SIZE), int(0.62 * SIZE))
    place = int((hair + 0.02) * SIZE)
    before, after = (np.log(t[row, place] / PINK).mean() for t in (photo, out))
    assert before < -0.3
    assert after > 0.33 * before


def test_slow_colours_fade_on_both_sides_of_a_textures_border(oval):
    known = oval * (np.arange(SIZE) > 0.4 * SIZE)
    skin = oval * (np.arange(SIZE) > 0.3 * SIZE)
    wide = wide_alpha(cv2.resize(known, (512, 512)), cv2.resize(skin, (512, 512)))
    row = wide[int(0.55 * len(wide))]
    border = int(0.4 * len(wide))
    assert 0.3 < row[border] < 0.7
    assert 0.02 < row[border - 3] < row[border] < row[border + 3] < 1
    assert row[: int(0.28 * len(wide))].max() == 0  # never on hair


def test_depth_within_ignores_small_gaps():
    valid = np.ones((SIZE, SIZE), np.float32)
    valid[:, :40] = 0
    holed = valid.copy()
    holed[120:126, 120:126] = 0
    np.testing.assert_array_equal(depth_within(holed), depth_within(valid))
    assert depth_within(valid)[128, 40 + 26] == pytest.approx(27 / SIZE, abs=2 / SIZE)


def test_a_grey_shadow_on_skin_turns_flesh_coloured(oval):
    """As in a painting; where the photo is bright nothing changes its colour."""
    size = 256
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    skin = np.full((size, size, 3), (0.75, 0.6, 0.5), np.float32)
    hollow = sum(np.exp(-((x - c) ** 2 + (y - 0.55) ** 2) / 0.03**2) for c in (0.36, 0.64))
    source = skin * (1 - 0.3 * hollow[..., None])
    out = relight(source, oval, skin, oval, 1.0)
    usual = np.log(0.75 / 0.5)
    warmth = np.log((out[..., 0] + 1e-3) / (out[..., 2] + 1e-3)) - usual
    dark = (hollow > 0.7) & (oval > 0.5)
    assert out[dark].mean() < 0.93 * skin[dark].mean()  # it is still a shadow
    assert 0.02 < warmth[dark].mean() < 0.2
    rest = (hollow < 0.01) & (oval > 0.5) & (depth_inside(size) > 0.1) & (features(size) < 0.1)
    assert np.abs(warmth[rest]).mean() < 0.02


def test_skin_beside_the_targets_hair_lies_in_its_shadow(oval):
    """A photo's lit temple would be a bright rim there."""
    x = np.arange(SIZE) / SIZE
    hair = 0.3
    shade = 0.6 + 0.4 * np.clip((x - hair) / 0.03, 0, 1)
    target = plain(PINK) * shade[None, :, None].astype(np.float32)
    skin = oval * (x > hair)
    out = relight(plain(PINK), oval, target, skin.astype(np.float32), 1.0)
    rows = slice(round(0.3 * SIZE), round(0.75 * SIZE))
    clear = features(SIZE, 0.03)[rows] < 0.5
    at = round((hair + 0.008) * SIZE)
    assert np.median((out[rows, at] / PINK)[clear[:, at]]) < 0.91
    far = round((hair + 0.12) * SIZE)
    assert np.median((out[rows, far] / PINK)[clear[:, far]]) > 0.93


def test_brows_on_skin_that_shines_are_no_violet(oval):
    """A window's light on one half makes its skin pale and cool; what is dark there is not."""
    x = np.arange(SIZE, dtype=np.float32) / SIZE
    share = np.clip((0.5 - x) / 0.2, 0, 1)[None, :, None]
    shine = np.array((0.85, 0.78, 0.8), np.float32)
    target = np.broadcast_to((1 - share) * PINK + share * shine, (SIZE, SIZE, 3))
    brows = [polygon(b, SIZE) > 0 for b in BROWS]
    photo = plain(PINK)
    photo[brows[0] | brows[1]] = 0.22
    out = relight(photo, oval, target.astype(np.float32), oval, 1.0)
    shone = np.median(out[cv2.erode(brows[0].astype(np.uint8), np.ones((5, 5))) > 0], 0)
    skin = (oval > 0) & (depth_inside(SIZE) > 0.05)
    usual = np.log(target[skin]).mean(0)
    assert np.log(shone[2] / shone[0]) < usual[2] - usual[0] + 0.05
    cheek = out[round(0.62 * SIZE), round(0.3 * SIZE)]
    assert np.log(cheek[2] / cheek[0]) > np.log(PINK[2] / PINK[0]) + 0.2  # its light stays


@pytest.mark.parametrize(("skin", "lip"), [((0.6, 0.58, 0.56), 0.4), ((0.75, 0.6, 0.5), 0.4)])
def test_a_photo_without_colours_has_red_lips_as_its_skin_has_skins_colour(oval, skin, lip):
    """A photo in colour keeps the lips it has, pale as they may be."""
    mouth = polygon(LIPS_OUTER, SIZE) > 0
    target = plain(PINK)
    target[mouth] = (0.65, 0.3, 0.3)
    photo = plain(skin)
    photo[mouth] = np.array(skin) * lip / 0.6
    out = relight(photo, oval, target, oval, 1.0)
    deep = cv2.erode(mouth.astype(np.uint8), np.ones((9, 9))) > 0
    deep &= polygon(LIPS_INNER, SIZE, 0.004) == 0
    redness = np.median(np.log(out[deep][:, 0] / out[deep][:, 1])) - np.log(PINK[0] / PINK[1])
    wanted = np.log(0.65 / 0.3) - np.log(PINK[0] / PINK[1])
    if max(skin) - min(skin) < 0.1:
        assert redness > 0.5 * wanted
    else:
        assert redness < 0.3 * wanted


@pytest.mark.parametrize("sides", [(0.33,), (0.33, 0.67)])
def test_a_highlights_pale_colour_does_not_come_without_its_brightness(oval, sides):
    """A photo with a hollow where the target's cheeks shine would have grey skin there."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE
    shine = sum(np.exp(-((x - c) ** 2 + (y - 0.5) ** 2) / (2 * 0.05**2)) for c in sides)[..., None]
    target = plain(PINK) + shine * (np.array((0.9, 0.85, 0.82), np.float32) - PINK)
    hollow = sum(np.exp(-((x - c) ** 2 + (y - 0.5) ** 2) / (2 * 0.05**2)) for c in (0.33, 0.67))
    photo = plain(PINK) * (1 - 0.15 * hollow[..., None])
    lit = relight(plain(PINK), oval, target, oval, 1.0)
    dark = relight(photo, oval, target, oval, 1.0)
    at = (round(0.5 * SIZE), round(sides[0] * SIZE))
    assert dark[at].mean() < 0.9 * target[at].mean()
    paler = [np.log(p[at][0] / p[at][2]) / np.log(PINK[0] / PINK[2]) for p in (lit, dark)]
    assert paler[0] < 0.93  # the highlight itself is pale
    assert paler[1] > 0.95
    assert lit[at].mean() > dark[at].mean()


def test_streaks_where_a_photo_saw_a_cheek_at_a_slant_are_left_out(oval):
    """What is left of them, against the same photo seen from the front there."""
    x = np.arange(512)
    photo = np.full((512, 512, 3), PINK, np.float32)
    photo *= (1 + 0.1 * np.sin(x / 3))[:, None, None].astype(np.float32)
    whole = cv2.resize(oval, (512, 512))
    slant = np.zeros((512, 512), np.float32)
    slant[:, :256] = 1
    out = relight(photo, whole, plain(PINK), oval, 1.0, 0.0, slant)
    streaks = np.log(out).mean(-1)[290:330]
    left, right, middle = (streaks[:, c].std() for c in (100, 411, 256))
    assert left < 0.4 * right < 0.4 * middle


def test_hair_beside_a_smooth_cheek_lends_it_no_tint(oval):
    photo = np.full((512, 512, 3), PINK, np.float32)
    known = cv2.resize(oval, (512, 512)) * (np.arange(512) > 90)
    photo[known < 0.5] = (0.05, 0.02, 0.1)
    slant = np.ones((512, 512), np.float32)
    out = relight(photo, known.astype(np.float32), plain(PINK), oval, 1.0, 0.0, slant)
    cheek = np.log(out[290:330, 100:112] / PINK)
    assert np.abs(cheek).max() < 0.05


def test_cheeks_have_the_targets_colours(oval):
    """Hair that hangs beside them, or warm light from the side, tints a photo's; a shape is left of the shade."""
    aside = np.abs(np.arange(SIZE, dtype=np.float32) / SIZE - 0.5)
    down = np.arange(SIZE, dtype=np.float32)[:, None] / SIZE
    patch = np.exp(-(((aside - 0.2) / 0.04) ** 2) - ((down - 0.6) / 0.06) ** 2)[..., None]
    photo = plain(PINK) * np.exp(patch * np.float32((-0.2, -0.4, -0.9)))
    out = relight(photo, oval, plain(PINK), oval, 1.0)
    change = np.log(out / PINK)[patch[..., 0] > 0.5]
    assert np.abs(change[:, 0] - change[:, 2]).max() < 0.17
    assert -0.14 < change.mean() < -0.05
