"""A training run: a folder that holds all that it depended on and all that came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anatomark import __version__
from anatomark.errors import UsageError
from anatomark.methods import Learner
from anatomark.models.device import best_device, channels_last, half_precision
from anatomark.models.files import (
    DomainInfo,
    Model,
    ModelInfo,
    load_model,
    make_method,
    save_model,
)
from anatomark.models.recipe import Recipe
from anatomark.models.shapes import MIN_CASES
from anatomark.training.batches import TrainingBatches, ValidationBatches
from anatomark.training.finish import finish
from anatomark.training.finish_matcher import finish_matcher
from anatomark.training.folder import BEST, LAST, begin, check_folder, in_order_begun
from anatomark.training.groups import Data, Group, open_groups
from anatomark.training.leaks import known_to, look, trained_on
from anatomark.training.memory import check_memory
from anatomark.training.starting import Base, add_to, start_from

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Machine:
    """Where to train: ``device`` is auto, cpu or gpu; ``devices`` of each of ``nodes``."""

    device: str = "auto"
    devices: int = 1
    nodes: int = 1

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


@dataclass(frozen=True, eq=False)
class Run:
    """A run that has ended: its ``folder``, and what the model knows of itself."""

    folder: Path
    info: ModelInfo

    def model(self, domain: str | None = None) -> Model:
        """The trained model; of a universal one, the domain has to be named."""
        return load_model(self.folder if domain is None else self.folder / domain)


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to start from, and whether they are those of a model that gets a new domain."""

    base: Base
    adding: bool

    @property
    def record(self) -> dict[str, Any]:
        """For the folder of the run."""
        return {"model": self.base.path, "sha256": self.base.sha256, "adding": self.adding}

    @property
    def name(self) -> dict[str, Any]:
        """For whoever gets the model: no paths of this machine."""
        return {
            "name": self.base.info.recipe["name"], "sha256": self.base.sha256,
            "adding": self.adding,
        }  # fmt: skip


def train(
    recipe: Recipe,
    data: Data,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    start: str | PathLike[str] | None = None,
    add_domain: str | PathLike[str] | None = None,
    machine: Machine | None = None,
    bar: bool = False,
) -> Run:
    """Train a model into the folder ``out``, or go on with the run that is there.

    A run that goes on ends as the run it would have been. The model is the one with the smallest
    validation error; what is written beside it is told in ``docs/training.md``.

    ``data`` is a cohort, or one for each domain of the recipe. ``start`` is a model whose weights
    are taken where they fit. ``add_domain`` is a universal model to which the domains of the recipe
    are added: it is in the result, and what it finds in its own domains stays bit for bit the same.
    """
    where = machine or Machine()
    folder = Path(out)
    if recipe.training.batch % where.world:
        raise UsageError(
            f"a batch of {recipe.training.batch} cannot be divided among {where.world} devices",
            fix="make training.batch a multiple of the devices",
        )
    if start is not None and add_domain is not None:
        raise UsageError("a run starts from one model", fix="leave --from or --add-domain away")
    if first_rank() == 0:
        check_folder(folder, resume=resume)
    if resume:
        recipe = in_order_begun(folder, recipe)
    named = start if add_domain is None else add_domain
    begun = None if named is None else Start(Base.read(named), adding=add_domain is not None)
    groups = open_groups(data, recipe)
    for group in groups:
        _check_counts(group)
    count = sum(len(group.validation) for group in groups)
    if count < where.world:
        raise UsageError(
            f"{count} validation cases cannot be divided among {where.world} devices",
            fix="choose fewer devices, or more validation cases",
        )
    return _trained(recipe, groups, begun, folder, where, resume=resume, bar=bar)


def _check_counts(group: Group) -> None:
    if group.recipe.detection.shape == "fit" and len(group.train) < MIN_CASES:
        raise UsageError(
            f"{len(group.train)} training cases are too few to learn shapes from",
            fix=f'needs {MIN_CASES}, or shape = "check" under [detection]',
        )


def _trained(
    recipe: Recipe,
    groups: Sequence[Group],
    start: Start | None,
    folder: Path,
    where: Machine,
    *,
    resume: bool,
    bar: bool,
) -> Run:
    from anatomark.training.loop import Keeper, Loop, Seen, run_loop
    from anatomark.training.pair_loop import PairLoop

    device = best_device(where.device)
    half = half_precision(
        recipe.training.precision, device, training_dimension=recipe.grid.dimension
    )
    method = _ready(recipe, groups, start, where, device)
    digests = {group.domain: look(group) for group in groups}
    known = {}
    if start is not None and first_rank() == 0:
        known = {g.domain: known_to(start.base.info, g, digests[g.domain]) for g in groups}
    if first_rank() == 0:
        precision = "bf16" if half else "float32"
        about: dict[str, Any] = {
            "computed": {"precision": precision, "device": device, "processes": where.world}
        }
        if start is not None:
            about["begun_with"] = start.record
        begin(folder, recipe, groups, about, resume=resume)
    info = _info(recipe, groups, digests, start)
    seen = {group.domain: Seen(group.recipe.augment, group.row_pairs) for group in groups}
    kind = PairLoop if recipe.matches else Loop
    loop = kind(method, recipe, seen, info.model_dump(mode="json"))

    def keep_best(weights: dict[str, Tensor]) -> None:
        save_model(folder / BEST, info, weights)

    keeper = Keeper(folder / LAST, keep_best, recipe.training.patience)
    run_loop(
        loop,
        TrainingBatches(
            groups, batch=recipe.training.batch, steps=recipe.training.steps_per_epoch,
            seed=recipe.seed, epoch=lambda: loop.current_epoch, rank=rank, world=where.world,
            readers=recipe.training.readers,
        ),
        ValidationBatches(groups, rank=rank, world=where.world),
        keeper=keeper, folder=folder, device=device, half=half, devices=where.devices,
        nodes=where.nodes, resume=folder / LAST if resume and (folder / LAST).is_file() else None,
        bar=bar,
    )  # fmt: skip
    if rank() == 0:
        judged = "validation_mre_px" if recipe.domains else "validation_mre"
        judged = "validation_lost" if recipe.matches else judged
        trained: dict[str, Any] = {
            "epochs": loop.current_epoch, "steps": loop.global_step,
            "best_epoch": keeper.best_epoch, judged: keeper.best,
            "anatomark": __version__, "date": datetime.now(UTC).date().isoformat(),
        }  # fmt: skip
        if start is not None:
            trained["begun_with"] = start.name
        base = start.base if start is not None and start.adding else None
        if recipe.matches:
            own = finish_matcher(groups[0], trained, folder, known=known, device=device, half=half)
            return Run(folder, own)
        info = finish(groups, trained, folder, known=known, base=base, device=device, half=half)
    return Run(folder, info)


def _info(
    recipe: Recipe,
    groups: Sequence[Group],
    digests: Mapping[str, Mapping[str, str]],
    start: Start | None,
) -> ModelInfo:
    whole = recipe.complete()
    before = frozenset[str]() if start is None else start.base.info.seen
    each = {
        g.domain: DomainInfo(
            landmarks=g.cases.names, pairs=g.cases.pairs, unit=g.cases.unit,
            trained_on=trained_on(g, digests[g.domain]),
        )
        for g in groups
    }  # fmt: skip
    if "" not in each:
        return ModelInfo(recipe=whole, domains=each, trained_on=tuple(sorted(before)))
    only = each[""]
    return ModelInfo(
        recipe=whole, landmarks=only.landmarks, pairs=only.pairs, unit=only.unit,
        trained_on=tuple(sorted(before.union(only.trained_on))),
    )  # fmt: skip


def first_rank() -> int:
    """Which process of a multi-process run this is, before they have met; 0 in a run of one."""
    for name in ("RANK", "SLURM_PROCID"):  # torchrun and srun count over all nodes
        if name in os.environ:
            return int(os.environ[name])
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def rank() -> int:
    """Which of all processes this is, once they have met; 0 in a run of one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _ready(
    recipe: Recipe, groups: Sequence[Group], start: Start | None, where: Machine, device: str
) -> Learner:
    """The method with the weights that it starts from, on its device, after a trial step."""
    counts = {group.domain: len(group.cases.names) for group in groups}
    method = _fresh(recipe, counts)
    if start is not None and start.adding:
        add_to(method, recipe, start.base)
    elif start is not None:
        start_from(method, start.base)
    if device == "cuda":
        # Each process tries its batch on the GPU that it will have.
        local = os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or "0"
        torch.cuda.set_device(int(local) % torch.cuda.device_count())
        method = method.cuda()
    share = recipe.training.batch // where.world
    for group in groups:
        check_memory(group.recipe, method, counts[group.domain], device=device, share=share)
    return method


def _fresh(recipe: Recipe, landmarks: Mapping[str, int]) -> Learner:
    torch.manual_seed(recipe.seed)
    method = make_method(recipe, landmarks.get("", landmarks))
    if recipe.training.channels_last:
        layout: Any = channels_last(recipe.grid.dimension)
        method = method.to(memory_format=layout)  # type: ignore[call-overload]
    return method
