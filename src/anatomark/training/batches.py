"""Which cases at which step, as a function of the seed: so a run that goes on misses nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from anatomark.errors import UsageError
from anatomark.methods import Batch
from anatomark.training.cases import Example
from anatomark.training.groups import Group


class CaseBatch(NamedTuple):
    """A batch and the names of its cases."""

    batch: Batch
    cases: tuple[str, ...]


class Planned(NamedTuple):
    """The cases of one batch, all of one group."""

    group: int
    cases: tuple[str, ...]


def epoch_order(cases: Sequence[str], length: int, seed: int, epoch: int) -> list[str]:
    """``length`` cases in the order of one epoch: every case once before any comes again."""
    rng = np.random.default_rng([seed, 2, epoch])
    order: list[str] = []
    while len(order) < length:
        order += [cases[i] for i in rng.permutation(len(cases))]
    return order[:length]


def epoch_plan(
    groups: Sequence[Sequence[str]],
    batch: int,
    steps: int | None,
    seed: int,
    epoch: int,
    shares: Sequence[float] | None = None,
) -> list[Planned]:
    """The batches of one epoch; those of several groups are mixed, each epoch anew.

    Without ``steps``, every case is shown once, or a few again to fill the last batch of its
    group. With ``steps``, each group has its share of them, by its number of cases or ``shares``.
    """
    counts = batch_counts([len(cases) for cases in groups], batch, steps, shares)
    plan = []
    for number, (cases, count) in enumerate(zip(groups, counts, strict=True)):
        order = epoch_order(cases, count * batch, seed + number, epoch)
        plan += [Planned(number, tuple(order[i : i + batch])) for i in range(0, len(order), batch)]
    if len(groups) == 1:
        return plan
    mixed = np.random.default_rng([seed, 5, epoch]).permutation(len(plan))
    return [plan[i] for i in mixed]


def batch_counts(
    sizes: Sequence[int], batch: int, steps: int | None, shares: Sequence[float] | None = None
) -> list[int]:
    """How many batches of one epoch each group has, by its number of cases or ``shares``."""
    if steps is None:
        return [-(-size // batch) for size in sizes]
    counts = _divided(shares or sizes, steps)
    if 0 in counts:
        raise UsageError(
            f"{steps} steps an epoch leave none for one of {len(sizes)} domains",
            fix="raise training.steps_per_epoch, or its data.share",
        )
    return counts


def _divided(sizes: Sequence[float], total: int) -> list[int]:
    """Whole numbers in proportion to ``sizes`` with the sum ``total`` (largest remainders)."""
    exact = [total * size / sum(sizes) for size in sizes]
    shares = [int(e) for e in exact]
    order = sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares


class TrainingBatches:
    """Batches of one process: every ``world``-th case of each common batch, read ahead.

    ``epoch`` and ``rank`` are asked when an epoch starts: before, there may be no processes yet.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        batch: int,
        steps: int | None,
        seed: int,
        epoch: Callable[[], int],
        rank: Callable[[], int] = lambda: 0,
        world: int = 1,
        readers: int = 2,
    ) -> None:
        self._groups, self._wanted = tuple(groups), steps
        self._batch, self._seed, self._epoch = batch, seed, epoch
        self._rank, self._world, self._readers = rank, world, readers

    def _plan(self, epoch: int) -> list[Planned]:
        cases = [group.train for group in self._groups]
        return epoch_plan(cases, self._batch, self._wanted, self._seed, epoch, self._shares())

    def _shares(self) -> list[float]:
        return [group.recipe.data.share or len(group.train) for group in self._groups]

    def __len__(self) -> int:
        sizes = [len(group.train) for group in self._groups]
        return sum(batch_counts(sizes, self._batch, self._wanted, self._shares()))

    def __iter__(self) -> Iterator[CaseBatch]:
        epoch, rank = self._epoch(), self._rank()
        plan = self._plan(epoch)
        mine = [
            (group, case, number * self._batch + place)
            for number, (group, cases) in enumerate(plan)
            for place, case in enumerate(cases)
            if place % self._world == rank
        ]
        each = self._batch // self._world
        with ThreadPoolExecutor(self._readers) as pool:
            waiting: deque[Future[Example]] = deque()
            todo = iter(mine)

            def ask(count: int) -> None:
                for _, (group, case, place) in zip(range(count), todo, strict=False):
                    waiting.append(pool.submit(self._example, group, case, epoch, place))

            try:
                ask(2 * each)
                for group, _ in plan:
                    examples = [waiting.popleft().result() for _ in range(each)]
                    ask(each)
                    yield collate(examples, self._groups[group].domain)
            finally:
                for future in waiting:
                    future.cancel()

    def _example(self, group: int, case: str, epoch: int, place: int) -> Example:
        rng = np.random.default_rng([self._seed, 3, epoch, place])
        own = self._groups[group]
        return window(own.store[case], own.recipe.grid.size, rng)


def window(
    example: Example, size_xyz: Sequence[int], rng: np.random.Generator | None = None
) -> Example:
    """A box of ``size_xyz`` voxels: anywhere (the middle without ``rng``), padded at the far ends.

    Landmarks outside the box become absent.
    """
    shape = example.array.shape[1:]
    wanted = tuple(size_xyz)[::-1]
    if shape == wanted:
        return example
    starts = [
        (max(n - w, 0) // 2 if rng is None else int(rng.integers(0, max(n - w, 0) + 1)))
        for n, w in zip(shape, wanted, strict=True)
    ]
    box = tuple(slice(s, s + w) for s, w in zip(starts, wanted, strict=True))
    array = example.array[(slice(None), *box)]
    widths = [(0, w - n) for n, w in zip(array.shape[1:], wanted, strict=True)]
    array = np.pad(array, [(0, 0), *widths], mode="edge")
    before = np.asarray(shape[::-1], np.float64)
    after = np.asarray(wanted[::-1], np.float64)
    index = (example.points.astype(np.float64) + 1) / 2 * before - np.asarray(starts[::-1])
    points = index / after * 2 - 1
    present = example.present & (np.abs(points) <= 1).all(1)
    mask = example.mask
    if mask is not None:
        mask = np.pad(mask[(slice(None), *box)], [(0, 0), *widths])
    return Example(
        example.case, array, np.where(present[:, None], points, 0).astype(np.float32), present,
        example.extent_mm / before * after, example.statistics, mask,
    )  # fmt: skip


def collate(examples: Sequence[Example], domain: str = "") -> CaseBatch:
    """Examples of one shape and domain as a batch of tensors."""
    masks = [e.mask for e in examples if e.mask is not None]
    return CaseBatch(
        Batch(
            images=torch.from_numpy(np.stack([e.array for e in examples])),
            extent_mm=torch.from_numpy(np.stack([e.extent_mm for e in examples])).float(),
            points=torch.from_numpy(np.stack([e.points for e in examples])),
            present=torch.from_numpy(np.stack([e.present for e in examples])),
            domain=domain,
            mask=torch.from_numpy(np.stack(masks)) if masks else None,
        ),
        tuple(e.case for e in examples),
    )


class ValidationBatches:
    """Whole validation cases, one at a time, divided among the processes."""

    def __init__(
        self, groups: Sequence[Group], *, rank: Callable[[], int] = lambda: 0, world: int = 1
    ) -> None:
        self._cases = [(group, case) for group in groups for case in group.validation]
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._cases[self._rank() :: self._world])

    def __iter__(self) -> Iterator[CaseBatch]:
        for group, case in self._cases[self._rank() :: self._world]:
            yield collate([at_least(group.store[case], group.recipe.grid.size)], group.domain)


def at_least(example: Example, size_xyz: Sequence[int]) -> Example:
    """The whole case, padded where it is smaller than the network's grid."""
    own = example.array.shape[:0:-1]
    return window(example, [max(n, w) for n, w in zip(own, size_xyz, strict=True)])
