"""From photographs to identities, and from identities to the tracks that get them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidswap.engines import Identity, SwapEngine
from vidswap.faces.photo_faces import source_faces
from vidswap.media.photo import read_photo
from vidswap.run.analysis import Analysis
from vidswap.run.job import check_input
from vidswap.run.request import Request
from vidswap.types import SourceFace


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Somebody who is put into the clip."""

    who: str
    """Whom they replace: a rule, track indices or a reference photo."""
    photos: tuple[Path, ...]
    identity: Identity


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
    if not request.mapping:
        faces = [source_face(photo, request) for photo in request.sources]
        return (Person(request.faces, request.sources, engine.identify(faces)),)
    by_reference: dict[str, list[Path]] = {}
    for reference, photo in request.mapping:
        by_reference.setdefault(reference, []).append(photo)
    return tuple(
        Person(who, tuple(photos), engine.identify([source_face(p, request) for p in photos]))
        for who, photos in by_reference.items()
    )


def source_face(photo: Path, request: Request) -> SourceFace:
    """The face of one photo, with the advice that goes with it."""
    face = source_faces(read_photo(photo), str(photo))
    for remark in getattr(face, "warnings", ()):
        request.watch.warn(f"{photo}: {remark}")
    return face


def cast_tracks(
    request: Request, analysis: Analysis, persons: Sequence[Person]
) -> dict[int, Person]:
    """Who is put onto which track, by track id; an earlier person keeps a track both would get.

    Raises:
        RecipeError: A rule that does not exist, an index that no track has.
        WeightsError: A reference photo, without an embedder to recognise it.
    """
    cast: dict[int, Person] = {}
    for person in persons:
        for track in analysis.tracks:
            cast.setdefault(track.id, person)
    return cast
