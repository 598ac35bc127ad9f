"""From photographs to identities, and from identities to the tracks that get them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidswap.engines import Identity, SwapEngine
from vidswap.errors import RecipeError
from vidswap.faces.cast import RULES, is_reference, select
from vidswap.faces.embed import five_points, open_embedder, recogniser
from vidswap.faces.photo_faces import source_face
from vidswap.media.photo import read_photo
from vidswap.run.analysis import Analysis
from vidswap.run.job import check_input
from vidswap.run.request import Request
from vidswap.types import F32, U8, SourceFace

Likeness = Callable[[int, U8, F32], float | None]
"""(track id, 8-bit picture, mesh in its pixels) → cosine to the source, [-1, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody who is put into the clip."""

    who: str
    """Whom they replace: a rule, track indices or a reference photo."""
    photos: tuple[Path, ...]
    identity: Identity
    faces: tuple[SourceFace, ...] = ()


def check_photos(photos: Sequence[Path]) -> None:
    """Refuse photos that cannot be opened.

    Raises:
        MediaError: Naming the file.
    """
    for photo in photos:
        check_input(photo, "photo")


def people(request: Request, engine: SwapEngine) -> tuple[Person, ...]:
    """Identities of a request; several photos for one place are one person.

    Raises:
        NoFaceError: A photo without a face.
        MediaError: A photo that cannot be read.
    """
    chosen: dict[str, list[Path]] = {}
    for who, photo in request.mapping:
        chosen.setdefault(who, []).append(photo)
    chosen = chosen or {request.faces: list(request.sources)}
    persons = []
    for who, photos in chosen.items():
        faces = tuple(advised_face(photo, request) for photo in photos)
        identity = engine.identify(faces)
        for remark in getattr(identity, "remarks", ()):
            request.watch.warn(remark)
        persons.append(Person(who, tuple(photos), identity, faces))
    return tuple(persons)


def advised_face(photo: Path, request: Request) -> SourceFace:
    """The face of one photo, with the advice that goes with it."""
    face = source_face(read_photo(photo), str(photo))
    for remark in getattr(face, "warnings", ()):
        request.watch.warn(f"{photo}: {remark}")
    return face


def check_rules(request: Request) -> None:
    """Refuse a choice of faces that cannot be carried out, before the clip is analysed.

    Raises:
        RecipeError: Neither a rule, nor indices, nor a file.
        WeightsError: A reference photo, without an embedder to recognise it.
    """
    rules = [who for who, _ in request.mapping] or [request.faces]
    for rule in filter(is_reference, rules):
        if not Path(rule).is_file():
            known = ", ".join(RULES)
            raise RecipeError(
                f"{rule!r} is neither a photo nor one of {known} nor a track index",
                stage="cast",
                hint="vidswap inspect shows the tracks and their indices",
            )
        recogniser()


def cast_tracks(
    request: Request, analysis: Analysis, persons: Sequence[Person]
) -> dict[int, Person]:
    """Who is put onto which track, by track id; an earlier person keeps a track both would get.

    Raises:
        RecipeError: An index that no track has.
        WeightsError: A reference photo, without an embedder to recognise it.
    """
    by_rule = {person.who: person for person in persons}
    picked = select(list(by_rule), analysis.tracks, lambda rule: _recognise(Path(rule), request))
    return {index: by_rule[rule] for index, rule in picked.items()}


def _recognise(photo: Path, request: Request) -> F32:
    face = advised_face(photo, request)
    return recogniser()(face.rgb, face.mesh)


def likeness_of(cast: Mapping[int, Person]) -> Likeness | None:
    """How like the source the faces of each track are; None where no embedder is installed."""
    embedder = open_embedder()
    if embedder is None:
        return None
    wanted = {
        id(person): np.mean([embedder.embed(f.rgb, five_points(f.mesh)) for f in person.faces], 0)
        for person in cast.values()
        if person.faces
    }

    def likeness(track: int, rgb: U8, mesh: F32) -> float | None:
        vector = wanted.get(id(cast[track]))
        if vector is None:
            return None
        norm = float(np.linalg.norm(vector))
        return float(embedder.embed(rgb, five_points(mesh)) @ vector) / max(norm, 1e-9)

    return likeness
