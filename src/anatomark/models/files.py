"""A model is one ``.safetensors`` file: weights, and in its header all that is needed to use them.

Nothing in it is executed: pickled checkpoints (``.ckpt``, ``.pt``) are refused unless trusted.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anatomark.errors import ModelError, UsageError
from anatomark.io.files import check_readable, writing
from anatomark.methods import Method, method_named
from anatomark.models.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "anatomark-model", 1
WEIGHTS_FILE = "model.safetensors"
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_KEY, _DIGEST = "anatomark", "sha256"


class ModelInfo(BaseModel):
    """What goes with the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    version: int = VERSION
    recipe: dict[str, Any]
    landmarks: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    unit: str = "mm"
    trained: dict[str, Any] = Field(default_factory=dict)
    # What was learnt about errors, shapes and images; see ``checks.py``.
    checks: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Model:
    """Weights with their recipe and landmarks."""

    info: ModelInfo
    recipe: Recipe
    method: Method
    path: str = ""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Names of the landmarks, in the order of the network's outputs."""
        return self.info.landmarks


def make_method(recipe: Recipe, landmarks: int) -> Method:
    """The method of a recipe with fresh weights."""
    kind = method_named(recipe.method)
    return kind(
        recipe.config(),
        landmarks=landmarks,
        dimension=recipe.grid.dimension,
        channels=recipe.data.channels,
    )


def save_model(path: str | PathLike[str], info: ModelInfo, weights: dict[str, Tensor]) -> None:
    """Write weights and what goes with them; the file appears whole or not at all."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    digest = {_KEY: info.model_dump_json(), _DIGEST: _digest(plain)}
    content = save(plain, metadata=digest)
    with writing(path) as temporary:
        temporary.write_bytes(content)


def find_model(name: str | PathLike[str]) -> Path:
    """The file of a model: a ``.safetensors`` file, a run folder, or the name of a shipped one."""
    given = Path(name)
    if given.is_dir():
        file = given / WEIGHTS_FILE
        if not file.is_file():
            raise UsageError(
                f"has no {WEIGHTS_FILE}", path=given, fix="finish its training: train --resume"
            )
        return file
    if given.exists():
        return given
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)]
    known = ", ".join(shipped) or "none"
    raise UsageError(
        "is neither a file, a run folder nor a shipped model", path=name,
        fix=f"shipped models: {known}",
    )  # fmt: skip


def shipped_models() -> dict[str, Path]:
    """Files of the models that come with the package, by name."""
    folder = Path(str(resources.files("anatomark") / "weights"))
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def load_model(name: str | PathLike[str], *, trust: bool = False) -> Model:
    """Load a model for inference, on the CPU.

    ``trust`` allows a pickled checkpoint (``.ckpt``), which can run any code when it is opened.
    """
    file = check_readable(find_model(name), ModelError)
    if file.suffix in _PICKLES:
        info, weights = _unpickled(file, trust=trust)
    else:
        info, weights = _read(file)
    recipe = parse_recipe(info.recipe, file)
    method = make_method(recipe, len(info.landmarks))
    _fill(method, weights, file)
    return Model(info, recipe, method.eval(), str(file))


def _read(file: Path) -> tuple[ModelInfo, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            record = header.get(_KEY)
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as fault:
        raise ModelError(
            f"is not a sound safetensors file ({fault})", path=file, fix="copy or train it again"
        ) from None
    if record is None:
        raise ModelError(
            "holds weights, but not of anatomark: it has no recipe", path=file,
            fix="name a model.safetensors that anatomark train wrote",
        )  # fmt: skip
    if _DIGEST in header and header[_DIGEST] != _digest(weights):
        raise ModelError(
            "its weights are not those that were saved", path=file, fix="copy or train it again"
        )
    return _info(record, file), weights


def _digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 of all weights, in the order of their names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(name.encode())
        total.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _info(record: str, file: Path) -> ModelInfo:
    try:
        raw = json.loads(record)
        if raw.get("version") != VERSION:
            raise ModelError(
                f"is a model of version {raw.get('version')}, this anatomark reads {VERSION}",
                path=file, fix="update anatomark, or train again",
            )  # fmt: skip
        return ModelInfo.model_validate(raw)
    except (ValidationError, ValueError, AttributeError):
        raise ModelError(
            "has a damaged description", path=file, fix="copy or train it again"
        ) from None


def _unpickled(file: Path, *, trust: bool) -> tuple[ModelInfo, dict[str, Tensor]]:
    if not trust:
        raise ModelError(
            "is a pickled checkpoint, which can run any code when it is opened", path=file,
            fix="name its run folder or model.safetensors, or say --trust if you made it",
        )  # fmt: skip
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=False)
        return ModelInfo.model_validate(content["anatomark"]), _judged(content["state_dict"])
    except Exception as fault:
        raise ModelError(
            f"is not a checkpoint of anatomark ({type(fault).__name__})", path=file
        ) from None


def _judged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a training state that are validated: the average where there is one."""
    averaged, plain = "average.method.", "method."
    prefix = averaged if any(k.startswith(averaged) for k in state) else plain
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _fill(method: Method, weights: dict[str, Tensor], file: Path) -> None:
    own = method.state_dict()
    missing = sorted(own.keys() - weights.keys())
    foreign = sorted(weights.keys() - own.keys())
    other = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    wrong = [*missing, *foreign, *other]
    if wrong:
        raise ModelError(
            f"its weights are of another network: {len(missing)} missing, {len(foreign)} unknown, "
            f"{len(other)} of another shape, such as {wrong[0]}",
            path=file, fix="use the weights with the recipe that they were trained by",
        )  # fmt: skip
    lost = [k for k, v in weights.items() if v.is_floating_point() and not bool(v.isfinite().all())]
    if lost:
        raise ModelError(
            f"has weights that are not numbers, such as {lost[0]}", path=file,
            fix="copy or train it again",
        )  # fmt: skip
    method.load_state_dict(weights)
