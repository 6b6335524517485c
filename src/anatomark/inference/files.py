"""Many files: read ahead, detected in batches, one broken file reported and the rest done."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from anatomark.data import Cohort, Image, Landmarks
from anatomark.errors import AnatomarkError
from anatomark.inference.detection import Detection
from anatomark.inference.detector import Detector
from anatomark.inference.flags import Findings
from anatomark.inference.sources import Source
from anatomark.inference.vote_pictures import write_votes
from anatomark.io.cohorts.cases import load_sample
from anatomark.io.images.reading import read_image
from anatomark.io.landmarks.formats import write_landmarks
from anatomark.models.preparation import Prepared

_RINGED = 40  # landmarks that a picture draws radii of
Output = Literal["mrk.json", "fcsv", "csv", "json"]


def output_for(unit: str) -> Output:
    """What points are written as where nobody says: Slicer's files hold millimetres only."""
    return "mrk.json" if unit == "mm" else "json"


def detect_cases(detector: Detector, cohort: Cohort) -> dict[str, Detection]:
    """Points of all cases of a cohort, by their names; a case that cannot be read is an error."""
    grey = detector.model.recipe.data.channels == 1
    return {
        case.case: detector.detect(load_sample(cohort, case, grey=grey).image)
        for case in cohort.cases
    }


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one image: a detection, or an error."""

    source: Source
    detection: Detection | None = None
    written: Path | None = None
    error: AnatomarkError | None = None


class _Read(NamedTuple):
    source: Source
    image: Image | None
    ready: Prepared | None
    error: AnatomarkError | None


def detect_files(
    detector: Detector,
    sources: Sequence[Source],
    out: Path,
    *,
    output: Output = "mrk.json",
    picture: bool = True,
    explain: bool = False,
    batch: int = 1,
    readers: int = 2,
    grey: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Detect and write one after the other; an image that fails is an outcome with its error.

    ``explain`` draws what the points were made of, for methods that have votes.
    """
    size = batch if detector.fixed_size else 1

    def write(result: tuple[_Read, Outcome]) -> Outcome:
        return _written(result, out, output, picture=picture, votes=detector if explain else None)

    # One thread writes, as Matplotlib cannot draw in two, while the network looks at what follows.
    with ThreadPoolExecutor(readers) as pool, ThreadPoolExecutor(1) as writer:
        ahead = _ahead(pool, detector, sources, grey=grey, count=readers + size)
        writing: deque[Future[Outcome]] = deque()
        try:
            for result in _all_detected(detector, ahead, size):
                writing.append(writer.submit(write, result))
                if len(writing) > size:
                    yield writing.popleft().result()
                    progress()
            while writing:
                yield writing.popleft().result()
                progress()
        finally:
            for future in writing:
                future.cancel()


def _all_detected(
    detector: Detector, ahead: Iterator[_Read], size: int
) -> Iterator[tuple[_Read, Outcome]]:
    while group := list(islice(ahead, size)):
        yield from _detected(detector, group)


def _ahead(
    pool: ThreadPoolExecutor,
    detector: Detector,
    sources: Sequence[Source],
    *,
    grey: bool,
    count: int,
) -> Iterator[_Read]:
    """Read so many images ahead of their use, in order."""
    waiting: deque[Future[_Read]] = deque()
    todo = iter(sources)
    try:
        for source in islice(todo, count):
            waiting.append(pool.submit(_read, detector, source, grey))
        while waiting:
            done = waiting.popleft().result()
            for source in islice(todo, 1):
                waiting.append(pool.submit(_read, detector, source, grey))
            yield done
    finally:
        for future in waiting:
            future.cancel()


def _read(detector: Detector, source: Source, grey: bool) -> _Read:
    try:
        image = read_image(source.path, spacing=source.spacing, series=source.series, grey=grey)
        return _Read(source, image, detector.prepare(image), None)
    except AnatomarkError as fault:
        return _Read(source, None, None, _bare(fault.at(source.path)))
    except (MemoryError, RuntimeError, ValueError, OSError) as fault:
        said = f"could not be read: {fault}"
    return _Read(source, None, None, AnatomarkError(said, path=source.path))


def _bare(fault: AnatomarkError) -> AnatomarkError:
    """Without its traceback, which would keep the image in memory as long as the error."""
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _detected(detector: Detector, group: Sequence[_Read]) -> Iterator[tuple[_Read, Outcome]]:
    """Outcomes of images that are looked at together; where that fails, one by one."""
    sound = [read for read in group if read.error is None]
    found = _looked_at(detector, sound)
    if isinstance(found, AnatomarkError) and len(sound) > 1:
        alone = [_looked_at(detector, [read]) for read in sound]
        results = [one if isinstance(one, AnatomarkError) else one[0] for one in alone]
    else:
        results = [found] * len(sound) if isinstance(found, AnatomarkError) else [*found]
    by_name = {read.source.name: result for read, result in zip(sound, results, strict=True)}
    for read in group:
        result = by_name.get(read.source.name, read.error)
        if isinstance(result, Detection):
            yield read, Outcome(read.source, result)
        else:
            told = result or AnatomarkError("was not looked at")
            yield read, Outcome(read.source, error=told.at(read.source.path))


def _looked_at(detector: Detector, reads: Sequence[_Read]) -> list[Detection] | AnatomarkError:
    pairs = [(r.image, r.ready) for r in reads if r.image is not None and r.ready is not None]
    try:
        return detector.detect_prepared(pairs) if pairs else []
    except AnatomarkError as fault:
        return _bare(fault)
    except MemoryError as fault:
        said, fix = f"does not fit in memory: {fault}", "try --batch 1"
    except (RuntimeError, ValueError) as fault:
        said, fix = f"could not be looked at: {fault}", "look at it with anatomark show"
    return AnatomarkError(said, fix=fix)


def _written(
    result: tuple[_Read, Outcome],
    out: Path,
    output: Output,
    *,
    picture: bool,
    votes: Detector | None,
) -> Outcome:
    read, outcome = result
    if outcome.detection is None or read.image is None:
        return outcome
    path = out / f"{outcome.source.name}.{output}"
    try:
        if picture:
            _draw(read.image, outcome.detection.findings, path, outcome.source.name)
        if votes is not None and read.ready is not None:
            write_votes(votes, read.ready, outcome.detection.landmarks, out / outcome.source.name)
        # Last: an image that ends as an error has no landmark file that its table does not know.
        marks = for_file(outcome.detection.findings, output)
        write_landmarks(marks, path, grid=read.image.grid)
    except AnatomarkError as fault:
        return replace(outcome, detection=None, error=_bare(fault))
    except (MemoryError, RuntimeError, ValueError) as fault:
        said = f"could not be drawn: {fault}"
        error = AnatomarkError(
            said, path=outcome.source.path, fix="say --no-picture, without --explain"
        )
        return replace(outcome, detection=None, error=_bare(error))
    return replace(outcome, written=path)


def _draw(image: Image, findings: Findings, path: Path, title: str) -> None:
    from anatomark.pictures import draw, save_picture

    flagged = [name for name in findings.landmarks.names if findings.flags.get(name)]
    # Rings of many points cover what is to be seen.
    rings = findings.radius if len(findings.landmarks) <= _RINGED else None
    drawn = draw(
        image, findings.landmarks, title=title, radius=rings, doubtful=flagged,
        note="; ".join(findings.image),
    )  # fmt: skip
    save_picture(drawn, path.with_name(f"{title}.png"))


def for_file(findings: Findings, output: Output) -> Landmarks:
    """Landmarks as a format can hold them: what it has no place for goes into descriptions."""
    marks = findings.landmarks
    if output == "json":
        notes = {k: list(v) for k, v in findings.flags.items()}
        radius = {k: v if math.isfinite(v) else None for k, v in findings.radius.items()}
        meta = {
            **marks.meta, "flags": notes, "radius": radius, "level": _number(findings.level),
            "image": list(findings.image),
        }  # fmt: skip
        return replace(marks, meta=meta)
    said = {name: described(findings, row) for row, name in enumerate(marks.names)}
    return replace(
        marks, meta={"descriptions": said}, pairs=(), covariance_mm2=None,
        confidence=marks.confidence if output == "csv" else None,
    )  # fmt: skip


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def described(findings: Findings, row: int) -> str:
    """One line about a point: radius, confidence, flags, and what is odd about the whole image."""
    marks = findings.landmarks
    name = marks.names[row]
    words = []
    radius = findings.radius.get(name, math.nan)
    if math.isfinite(radius):
        words.append(f"±{radius:.1f} {marks.unit} ({100 * findings.level:.0f} %)")
    if marks.confidence is not None and math.isfinite(marks.confidence[row]):
        words.append(f"confidence {marks.confidence[row]:.2f}")
    return "; ".join([*words, *findings.flags.get(name, ()), *findings.image])
