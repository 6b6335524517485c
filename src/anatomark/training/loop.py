"""The training loop: the only module that imports Lightning, and it knows no paper."""

from __future__ import annotations

import logging
import math
import os
import pickle
import warnings
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from anatomark.augment import AugmentConfig
from anatomark.errors import TrainingError, WriteError
from anatomark.losses import pooled
from anatomark.methods import Batch
from anatomark.methods.base import drawing, known
from anatomark.models.device import channels_last
from anatomark.models.predicting import in_tiles
from anatomark.models.recipe import Recipe, TrainingRecipe
from anatomark.training.batches import CaseBatch
from anatomark.training.ema import Average

Save = Callable[[dict[str, Tensor]], None]


class Seen(NamedTuple):
    """How training sees one domain: what is changed, and rows that change places in a mirror."""

    augment: AugmentConfig
    row_pairs: list[tuple[int, int]]


class TrainingLoop(lightning.LightningModule, ABC):
    """One step of training, of batches that have one domain each; what is best is ``judged_by``."""

    judged_by: ClassVar[str]

    def __init__(
        self,
        method: Any,
        recipe: Recipe,
        seen: Mapping[str, Seen],
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.method, self.recipe, self.seen, self.info = method, recipe, dict(seen), info
        decay = recipe.training.ema
        self.average = Average(method, decay) if decay else None

    @property
    def judged(self) -> Any:
        """The weights that are validated and kept: the average where there is one."""
        return self.method if self.average is None else self.average.method

    # -- a step ----------------------------------------------------------------------------------

    def transfer_batch_to_device(self, batch: CaseBatch, device: Any, _: int) -> CaseBatch:
        """Move the tensors; names of cases have no device."""
        moved = batch.batch.to(device)
        images = moved.images.float()
        if self.recipe.training.channels_last:
            images = images.contiguous(memory_format=channels_last(images.ndim - 2))
        return CaseBatch(replace(moved, images=images), batch.cases)

    def on_train_epoch_start(self) -> None:
        """The last epoch is always judged, whatever ``validate_every`` says."""
        if self.current_epoch + 1 == self.recipe.training.epochs:
            self.trainer.check_val_every_n_epoch = 1
        for layer in self.method.modules():  # statistics that other domains share are held still
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.train(any(p.requires_grad for p in layer.parameters()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A state says what it is of, so that it can be looked through (``--trust``)."""
        checkpoint["anatomark"] = self.info

    def training_step(self, given: CaseBatch) -> Tensor:
        """The loss of a batch, augmented on the device."""
        # Everything random follows from the step, so that a run that goes on draws the same.
        seed = [self.recipe.seed, 4, self.global_step, self.global_rank]
        generator = torch.Generator().manual_seed(_mixed(seed))
        torch.manual_seed(_mixed([*seed, 1]))
        batch = self._shown(given.batch, generator)
        losses = self.method.losses(self.method(batch), batch)
        present = self.method.counted(batch)
        total: Any = sum(losses.values())
        self._check(total, present, given.cases)
        loss = self._pooled(total, present)
        shown = {f"train/{k}": pooled(v.detach(), present) for k, v in losses.items()}
        count = len(given.cases)
        several = self.trainer.world_size > 1
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=count, sync_dist=several)
        self.log(
            "train/loss", loss.detach(), on_epoch=True, on_step=False, prog_bar=True,
            batch_size=count, sync_dist=several,
        )  # fmt: skip
        return loss

    def _shown(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with changes by chance, as its domain asks for."""
        seen = self.seen[batch.domain]
        drawn = drawing(batch, generator, seen.row_pairs)
        shown: Batch = self.method.shown(batch, seen.augment, drawn)
        if self.recipe.training.channels_last:
            layout = channels_last(batch.images.ndim - 2)
            shown = replace(shown, images=shown.images.contiguous(memory_format=layout))
            if shown.pair is not None:
                moving = shown.pair.images.contiguous(memory_format=layout)
                shown = replace(shown, pair=replace(shown.pair, images=moving))
        return shown

    def _pooled(self, losses: Tensor, present: Tensor) -> Tensor:
        """Mean over the present landmarks of all processes; theirs are averaged by Lightning."""
        if self.trainer.world_size == 1:
            return pooled(losses, present)
        count = present.sum().float()
        torch.distributed.all_reduce(count)
        kept = torch.where(present, losses, losses.new_zeros(())).sum()
        return kept * self.trainer.world_size / count.clamp_min(1)

    def _check(self, losses: Tensor, present: Tensor, cases: tuple[str, ...]) -> None:
        wrong = (~losses.isfinite() & present).any(1)
        if bool(wrong.any()):
            names = [case for case, bad in zip(cases, wrong.tolist(), strict=True) if bad]
            raise TrainingError(
                f"the loss of {', '.join(names)} is not a number, at step {self.global_step}",
                fix="look at the case with anatomark show, or lower the learning rate",
            )

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """A gradient that is not finite must not reach the weights."""
        del optimizer
        total = [p.grad.sum() for p in self.method.parameters() if p.grad is not None]
        if total and not bool(torch.stack(total).sum().isfinite()):
            raise TrainingError(
                f"the gradient is not a number, at step {self.global_step}",
                fix="lower the learning rate, or set clip_gradient",
            )

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the average follow."""
        if self.average is not None:
            self.average.follow(self.method)

    # -- optimiser -------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Adam or AdamW, with the schedule of the recipe, step by step."""
        t = self.recipe.training
        kind = torch.optim.Adam if t.optimiser == "adam" else torch.optim.AdamW
        learnt = [p for p in self.method.parameters() if p.requires_grad]
        optimiser = kind(learnt, lr=t.learning_rate, weight_decay=t.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda n: rate(n, steps, t))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Loop(TrainingLoop):
    """Of methods that find landmarks: judged by their errors on the validation cases."""

    judged_by = "val/mre"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.errors: dict[str, list[Tensor]] = {}

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of the last validation."""
        self.errors = {domain: [] for domain in self.seen}
        self.judged.eval()

    def validation_step(self, given: CaseBatch) -> None:
        """Radial errors of one case in the unit of its image; of several domains in pixels too."""
        batch = given.batch
        points, present = known(batch)
        found = self.judged.predict(in_tiles(self.judged, batch))
        lost = ~found.points.isfinite().all(-1) & present
        if bool(lost.any()):
            raise TrainingError(
                f"the points of {', '.join(given.cases)} are not numbers, at step "
                f"{self.global_step}",
                fix="look at the case with anatomark show, or lower the learning rate",
            )
        apart = found.points - points
        size = batch.extent_mm.new_tensor(batch.images.shape[:1:-1])
        both = [
            (apart * half[:, None]).norm(dim=-1)[present].double()
            for half in (batch.extent_mm / 2, size.expand_as(batch.extent_mm) / 2)
        ]
        self.errors[batch.domain].append(torch.stack(both))

    def on_validation_epoch_end(self) -> None:
        """Mean radial error over all points of all processes; of several domains, theirs by name.

        Domains may be in different units: what is compared is the mean of their means, in pixels
        of the grid that the network sees.
        """
        means = {domain: self._mean(errors) for domain, errors in self.errors.items()}
        several = self.trainer.world_size > 1
        if "" in means:
            judged = means[""][0]
        else:
            judged = torch.stack([pixels for _, pixels in means.values()]).mean()
            each = {f"val/mre_{domain}": mean.float() for domain, (mean, _) in means.items()}
            self.log_dict(each, batch_size=1, sync_dist=several)
        self.log("val/mre", judged.float(), prog_bar=True, batch_size=1, sync_dist=several)

    def _mean(self, errors: list[Tensor]) -> Tensor:
        """Means of the rows of ``errors``, over all processes."""
        all_errors = torch.cat(errors, 1) if errors else torch.zeros(2, 0).double()
        count = all_errors.new_tensor([float(all_errors.shape[1])])
        sums = torch.cat([all_errors.sum(1), count]).to(self.device)
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        return sums[:2] / sums[2] if float(sums[2]) else sums.new_full((2,), math.nan)


def rate(step: int, steps: int, training: TrainingRecipe) -> float:
    """Factor of the learning rate: warm-up, then constant, half a cosine down, or triangles."""
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    if training.schedule == "constant":
        return 1.0
    step, steps = step - training.warmup_steps, steps - training.warmup_steps
    if training.schedule == "cosine":
        height = 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
    else:
        cycle, within = divmod(step, training.cycle_steps)
        height = (1 - abs(2 * within / training.cycle_steps - 1)) / 2**cycle
    low = training.lowest_rate / training.learning_rate
    return low + (1 - low) * height


def _mixed(numbers: list[int]) -> int:
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Keeper(Callback):
    """Keeps the last state for ``--resume`` and the best weights, and stops in time."""

    def __init__(self, last: Path, keep_best: Save, patience: int | None) -> None:
        self._last, self._keep_best, self._patience = last, keep_best, patience
        self.best, self.waited, self.best_epoch = math.inf, 0, -1
        self.judged_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {
            "best": self.best, "waited": self.waited, "best_epoch": self.best_epoch,
            "judged_epoch": self.judged_epoch,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it up again."""
        for name in ("best", "waited", "best_epoch", "judged_epoch"):
            setattr(self, name, state_dict[name])

    def on_train_start(self, trainer: lightning.Trainer, _: Any) -> None:
        """A run that had waited long enough does not go on."""
        if self._patience is not None and self.waited >= self._patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Keep the weights if they are the best so far."""
        if trainer.sanity_checking:
            return
        error = float(trainer.callback_metrics[pl_module.judged_by])
        self.judged_epoch = trainer.current_epoch
        if math.isnan(error):
            raise TrainingError(
                "no validation case has anything to judge by", fix="name another validation split"
            )
        if error < self.best:
            self.best, self.waited, self.best_epoch = error, 0, trainer.current_epoch
            if trainer.is_global_zero:
                self._keep_best(dict(pl_module.judged.state_dict()))
        else:
            self.waited += 1
        if self._patience is not None and self.waited >= self._patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: Any) -> None:
        """Keep everything, in place of the last state, which stays whole until then."""
        part = self._last.with_name(f".{self._last.name}.part")
        try:
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                with part.open("rb") as written:
                    os.fsync(written.fileno())
                part.replace(self._last)
        except (OSError, RuntimeError) as fault:
            part.unlink(missing_ok=True)
            raise WriteError(
                f"the state of the run cannot be saved: {fault}", path=self._last,
                fix="free some space, then go on with train --resume",
            ) from fault  # fmt: skip


def run_loop(
    loop: TrainingLoop,
    training: Any,
    validation: Any,
    *,
    keeper: Keeper,
    folder: Path,
    device: str,
    half: bool,
    devices: int = 1,
    nodes: int = 1,
    resume: Path | None = None,
    bar: bool = False,
) -> None:
    """Train until the epochs are over or the keeper stops."""
    recipe = loop.recipe.training
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    _quiet()
    trainer = lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=_strategy(devices * nodes, domains=len(loop.seen)),
        precision="bf16-mixed" if half else "32-true",
        max_epochs=recipe.epochs,
        check_val_every_n_epoch=recipe.validate_every,
        gradient_clip_val=recipe.clip_gradient,
        callbacks=[keeper, *([RichProgressBar()] if bar else [])],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        log_every_n_steps=1,
        enable_progress_bar=bar,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    if resume is not None:
        _check_state(resume)
    try:
        trainer.fit(
            loop, training, validation,
            ckpt_path=None if resume is None else str(resume), weights_only=True,
        )  # fmt: skip
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into an exit
            raise KeyboardInterrupt(
                f"stopped in epoch {loop.current_epoch + 1}; go on with train --resume"
            ) from None
        raise


def _strategy(processes: int, *, domains: int) -> str:
    """A batch has one domain: what belongs to the others has no gradient in that step."""
    if processes == 1:
        return "auto"
    return "ddp_find_unused_parameters_true" if domains > 1 else "ddp"


def _check_state(path: Path) -> None:
    """A state that cannot be read is the user's to know of, with its name."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as fault:
        raise TrainingError(
            f"is damaged ({str(fault).splitlines()[0]})", path=path,
            fix="train into another folder",
        ) from None  # fmt: skip


def _quiet() -> None:
    """Advice of Lightning about things that are as they are on purpose."""
    for text in (
        ".*does not have many workers.*",
        ".*`srun` command.*",
        ".*LeafSpec.*",
        ".*Grad strides do not match bucket view strides.*",
        ".*in eval mode at the start of training.*",  # the moving average is
        ".*GPU available but not used.*",
    ):
        warnings.filterwarnings("ignore", message=text)
