"""Named vertices of the face mesh: the one place where their numbers stand."""

EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
"""Eye contours, image-left first: outer corner, along the upper lid to the inner corner, back below."""

CREASES = (
    (247, 30, 29, 27, 28, 56, 190),
    (467, 260, 259, 257, 258, 286, 414),
)
"""Above the upper lids, from the outer corner, vertex by vertex; image-left first."""

BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
)
"""Brow outlines, image-left first."""
BROW_EDGES = (46, 53, 52, 65, 55, 276, 283, 282, 295, 285)
"""Lower edges of both brows, from the temples inwards."""
UNDER_BROWS = (225, 224, 223, 222, 221, 445, 444, 443, 442, 441)
"""What lies under each of those."""

LIPS_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)  # fmt: skip
LIPS_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)  # fmt: skip
LIP_MIDDLES = (
    (74, 73, 72, 11, 302, 303, 304, 42, 41, 38, 12, 268, 271, 272),
    (320, 404, 315, 16, 85, 180, 90, 319, 403, 316, 15, 86, 179, 89),
)
"""Half way between the outer and the inner line of the upper and of the lower lip."""
CHIN = (152, 199, 200)
