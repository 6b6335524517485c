"""Every error and warning that anatomark raises on purpose.

An error says which file, what is wrong and what to do, on one line, so that the command line can
print it as it is. Anything that is not an ``AnatomarkError`` is a fault of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from os import PathLike, fspath


def one_line(text: str) -> str:
    """The text without line breaks; spaces stay, they may belong to a file name."""
    return re.sub(r"\s*[\r\n\v\f\x85\u2028\u2029]\s*", " ", text.strip())


def listed(names: Iterable[str], most: int = 5) -> str:
    """``a, b, c``: the first names, and how many more there are."""
    every = [name or "''" for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def plain_name(name: str) -> str:
    """The letters and digits of a name, in small letters; the name itself where it has none.

    Names of which these are the same may mean one thing: they are said, never matched.
    """
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def counted(number: int, what: str, several: str | None = None) -> str:
    """``1 image``, ``2 images``; ``several`` where that is not made by an s."""
    return f"{number} {what if number == 1 else several or f'{what}s'}"


def with_article(what: str) -> str:
    """``an affine map``, ``a rigid map``."""
    return f"{'an' if what[:1] in 'aeiou' else 'a'} {what}"


class AnatomarkError(Exception):
    """Base of all errors about the user's input; the command line exits with 2.

    ``problem`` says what is wrong, ``fix`` what to do, ``path`` which file it is about.
    """

    def __init__(
        self, problem: str, *, fix: str | None = None, path: str | PathLike[str] | None = None
    ) -> None:
        self.problem = problem
        self.fix = fix
        self.path = None if path is None else fspath(path)
        super().__init__(problem)

    def __str__(self) -> str:
        text = self.problem if self.path is None else f"{self.path}: {self.problem}"
        text = text if self.fix is None else f"{text}; {self.fix}"
        return one_line(text)

    def at(self, path: str | PathLike[str]) -> AnatomarkError:
        """Return the same error with the file named, where it was not named yet."""
        if self.path is None:
            self.path = fspath(path)
        return self


class GeometryError(AnatomarkError):
    """A grid that cannot exist: spacing that is not positive, singular direction, empty shape."""


class ImageError(AnatomarkError):
    """An image that cannot be read or used."""


class LandmarkError(AnatomarkError):
    """Landmarks that cannot be read or used: duplicate names, unknown frame, wrong unit."""


class NoPointsError(LandmarkError):
    """A landmark file is sound but empty, as ``.fcsv`` is where nothing was found."""


class TransformError(AnatomarkError):
    """A transform that cannot be read, written or inverted."""


class RegistrationError(AnatomarkError):
    """Points, surfaces or images that cannot be brought onto each other, with the reason."""


class NoOverlapError(RegistrationError):
    """Images that do not meet under a map: there is nothing of them to compare."""


class CohortError(AnatomarkError):
    """A cohort that is not sound; ``problems`` lists everything that was found, not the first."""

    def __init__(
        self,
        problem: str,
        *,
        problems: Sequence[str] = (),
        fix: str | None = None,
        path: str | PathLike[str] | None = None,
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(problem, fix=fix, path=path)

    def short(self) -> str:
        """The error without its problems, for where they are listed below it: how many, the fix."""
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return str(AnatomarkError(count, fix=self.fix, path=self.path))


class ModelError(AnatomarkError):
    """A model file that cannot be used: damaged, of another network, or a pickle."""


class TrainingError(AnatomarkError):
    """A training run that cannot start or go on; the message names the case where there is one."""


class WriteError(AnatomarkError):
    """A file that could not be written; what was there before is untouched."""


class UsageError(AnatomarkError):
    """Options that are missing, contradict each other or leave more than one choice."""


class NotConvergedError(AnatomarkError):
    """An iteration that ended too far from its goal; ``residual_mm`` says how far."""

    # The default is for pickle, by which errors leave a process.
    def __init__(
        self, problem: str, *, residual_mm: float = float("nan"), fix: str | None = None
    ) -> None:
        self.residual_mm = residual_mm
        super().__init__(problem, fix=fix)


class AnatomarkWarning(UserWarning):
    """Base of all warnings; the command line prints each on one line of stderr."""


class LossWarning(AnatomarkWarning):
    """A format cannot hold something that the data has, so it was left out."""


class ImageWarning(AnatomarkWarning):
    """An image was read, but something about it deserves a look (a missing slice, say)."""


class CohortWarning(AnatomarkWarning):
    """A cohort was read or imported, but something about it deserves a look."""
