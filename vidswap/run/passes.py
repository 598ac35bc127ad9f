"""Pass one when it is needed, and what of it is swapped."""

from collections.abc import Mapping

from vidswap.allocator import give_back
from vidswap.engines import Plan
from vidswap.errors import MediaError, NoFaceError, StateError
from vidswap.run.analyse import analyse
from vidswap.run.analysis import NAME, Analysis
from vidswap.run.job import writing
from vidswap.run.lock import locked, tidy
from vidswap.run.people import Person, cast_tracks
from vidswap.run.prepare import Ready, Target
from vidswap.run.request import Request
from vidswap.types import Need


def require(request: Request, target: Target, needs: frozenset[Need]) -> Analysis:
    """The analysis that lies in the work folder.

    Raises:
        StateError: There is none, or it was made from something else; names what differs.
    """
    frames = (target.start, target.stop)
    return Analysis.open(target.work, target.info, request.recipe, needs, frames)


def obtain(request: Request, target: Target, needs: frozenset[Need]) -> Analysis:
    """The analysis of the work folder if it matches, else a new one.

    Raises:
        StateError: Another run is writing to the work folder, or the clip has changed.
    """
    try:
        analysis = require(request, target, needs)
    except StateError as error:
        if (target.work / NAME).exists():
            request.watch.note(f"analysing anew: {error.message}")
    else:
        tidy(target.work)
        request.watch.note(f"using the analysis in {target.work}")
        return analysis
    frames = (target.start, target.stop)
    with writing(target.work):
        target.work.parent.mkdir(parents=True, exist_ok=True)
    give_back()  # photographs are through: what reading them took is not needed beside the clip
    try:
        with locked(target.work):
            analysis = analyse(
                target.info,
                request.recipe,
                target.work,
                needs,
                frames,
                lambda done, total: request.watch.progress("analyse", done, total),
                request.watch.note,
            )
    except MediaError:
        target.guard.check()  # a file that changes fails in many ways; this one says why
        raise
    target.guard.check()
    return analysis


def cast_of(request: Request, analysis: Analysis, ready: Ready) -> dict[int, Person]:
    """Who is put onto which track, by track id.

    Raises:
        NoFaceError: Nobody is, and that is not allowed.
    """
    cast = cast_tracks(request, analysis, ready.persons)
    if not cast and not request.allow_no_face:
        count = len(analysis.tracks)
        found = f"none of its {count} faces is the wanted one" if count else "no face in it"
        raise NoFaceError(
            found,
            path=request.input,
            stage="cast",
            hint="vidswap inspect shows who was found; --allow-no-face writes the video as it is",
        )
    return cast


def plans_for(analysis: Analysis, ready: Ready, cast: Mapping[int, Person]) -> dict[int, Plan]:
    """The engine's plan of every track that is swapped, by track id."""
    return {
        track.id: ready.engine.plan(track, analysis.static(track), cast[track.id].identity)
        for track in analysis.tracks
        if track.id in cast
    }
