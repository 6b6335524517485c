"""A model is one ``.safetensors`` file: weights, and in its header all that is needed to use them.

Nothing in it is executed: pickled checkpoints (``.ckpt``, ``.pt``) are refused unless trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anatomark.errors import ModelError, UsageError
from anatomark.io.files import check_readable, writing
from anatomark.methods import MATCHERS, Learner, Matcher, Method, method_named
from anatomark.models.recipe import Recipe, parse_recipe
from anatomark.networks.gu2net import domain_of

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "anatomark-model", 1
WEIGHTS_FILE = "model.safetensors"
_PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_KEY, _DIGEST = "anatomark", "sha256"
#: What a matcher has under ``checks``: of its first look, and of a second one.
CONFIDENCE, CONFIDENCE_GUIDED = "match_confidence", "match_confidence_guided"


class DomainInfo(BaseModel):
    """What a universal model knows of one domain; as in ``ModelInfo``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    landmarks: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    unit: str = "mm"
    trained: dict[str, Any] = Field(default_factory=dict)
    checks: dict[str, Any] = Field(default_factory=dict)
    trained_on: tuple[str, ...] = ()


class ModelInfo(BaseModel):
    """What goes with the weights; of a universal model, landmarks and checks are in ``domains``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    version: int = VERSION
    recipe: dict[str, Any]
    landmarks: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    unit: str = "mm"
    trained: dict[str, Any] = Field(default_factory=dict)
    # What was learnt about errors, shapes and images; see ``checks.py``.
    checks: dict[str, Any] = Field(default_factory=dict)
    # Digests of the training images, also of the model that it started from; see ``leaks.py``.
    trained_on: tuple[str, ...] = ()
    domains: dict[str, DomainInfo] = Field(default_factory=dict)

    @property
    def seen(self) -> frozenset[str]:
        """Digests of all images that any of the weights were trained on, as far as is known."""
        return frozenset(self.trained_on).union(*(d.trained_on for d in self.domains.values()))

    def of(self, domain: str) -> ModelInfo:
        """What there is to know of one domain of a universal model, as a model of its own."""
        own = self.domains[domain]
        recipe = parse_recipe(self.recipe).of(domain)
        return ModelInfo(
            recipe=recipe.complete(), landmarks=own.landmarks, pairs=own.pairs, unit=own.unit,
            trained={**self.trained, **own.trained}, checks=own.checks,
            trained_on=tuple(sorted(self.seen)),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Model:
    """Weights with their recipe and landmarks."""

    info: ModelInfo
    recipe: Recipe
    method: Method
    path: str = ""

    @property
    def name(self) -> str:
        """The recipe's name, and the domain of a universal model, as in ``universal/head``."""
        return "/".join([self.recipe.name, *self.recipe.domains])

    @property
    def landmarks(self) -> tuple[str, ...]:
        """Names of the landmarks, in the order of the network's outputs."""
        return self.info.landmarks


@dataclass(frozen=True, eq=False)
class MatchingModel:
    """Weights that match images, with their recipe."""

    info: ModelInfo
    recipe: Recipe
    method: Matcher
    path: str = ""

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name


def make_method(recipe: Recipe, landmarks: int | Mapping[str, int]) -> Learner:
    """The method of a recipe with fresh weights, for so many landmarks, of each domain if many."""
    kind: Any = method_named(recipe.method)
    if recipe.matches:
        matcher: Matcher = kind(
            recipe.config(), dimension=recipe.grid.dimension, channels=recipe.data.channels
        )
        return matcher
    if isinstance(landmarks, int) and recipe.domains:
        landmarks = dict.fromkeys(recipe.domains, landmarks)
    method: Method = kind(
        recipe.config(),
        landmarks=landmarks,
        dimension=recipe.grid.dimension,
        channels=recipe.data.channels,
    )
    return method


def save_model(
    path: str | PathLike[str], info: ModelInfo, weights: dict[str, Tensor], *, half: bool = False
) -> None:
    """Write weights and what goes with them; the file appears whole or not at all.

    ``half`` writes them as float16, half as large and exact to 11 bits.
    """
    from safetensors.torch import save

    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    if half:
        plain = {k: v.half() if v.is_floating_point() else v for k, v in plain.items()}
    digest = {_KEY: info.model_dump_json(), _DIGEST: _digest(plain)}
    content = save(plain, metadata=digest)
    with writing(path) as temporary:
        temporary.write_bytes(content)


def find_model(name: str | PathLike[str]) -> tuple[Path, str | None]:
    """The file of a model, and the domain that was named: ``MODEL/DOMAIN`` of a universal one.

    A model is a ``.safetensors`` file, a run folder, or the name of a shipped one.
    """
    found = _found(name)
    if found is not None:
        return found, None
    whole, _, domain = str(name).replace("\\", "/").rpartition("/")
    just_a_folder = Path(whole).is_dir() and not (Path(whole) / WEIGHTS_FILE).is_file()
    found = _found(whole) if whole and not just_a_folder else None
    if found is not None:
        return found, domain
    shipped = shipped_models()
    known = _usable(shipped)
    near = get_close_matches(str(name), [*shipped, *known], 1, 0.5)
    said = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        "is neither a file, a run folder nor a shipped model", path=name,
        fix=f"{said}shipped models: {', '.join(known) or 'none'}",
    )  # fmt: skip


def _found(name: str | PathLike[str]) -> Path | None:
    given = Path(name)
    if given.is_dir():
        file = given / WEIGHTS_FILE
        if not file.is_file():
            raise UsageError(
                f"has no {WEIGHTS_FILE}", path=given, fix="finish its training: train --resume"
            )
        return file
    return given if given.exists() else shipped_models().get(str(name))


def _usable(shipped: Mapping[str, Path]) -> list[str]:
    """Names that can be used as they are: of universal models ``MODEL/DOMAIN``."""
    domains = {name: read_info(file).domains for name, file in shipped.items()}
    return [f"{n}/{d}" if d else n for n, known in domains.items() for d in (known or ("",))]


def shipped_models() -> dict[str, Path]:
    """Files of the models that come with the package, by name."""
    folder = Path(str(resources.files("anatomark") / "weights"))
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def describe(file: Path) -> list[dict[str, Any]]:
    """What a model is, one record a domain, as plain JSON types; its weights are not read."""
    info = read_info(file)
    found = []
    for domain in info.domains or ("",):
        own = info.of(domain) if domain else info
        recipe = parse_recipe(own.recipe, file)
        found.append({
            "name": f"{recipe.name}/{domain}" if domain else recipe.name, "domain": domain,
            "method": recipe.method, "dimension": recipe.grid.dimension,
            "modality": recipe.modality, "landmarks": list(own.landmarks), "unit": own.unit,
            "error": own.trained.get("validation_mre"), "path": str(file),
        })  # fmt: skip
    return found


def load_model(name: str | PathLike[str], *, trust: bool = False) -> Model:
    """Load a model for inference, on the CPU; of a universal one, the named domain.

    ``trust`` allows a pickled checkpoint (``.ckpt``), which can run any code when it is opened.
    """
    file, domain = find_model(name)
    info, weights = read_weights(file, trust=trust)
    domain = _chosen(info, domain, file)
    if domain is not None:
        info = info.of(domain)
        weights = {k: v for k, v in weights.items() if domain_of(k) in {None, domain}}
    recipe = parse_recipe(info.recipe, file)
    method = make_method(recipe, len(info.landmarks))
    if not isinstance(method, Method):
        raise UsageError(
            "matches images, it finds no named landmarks", path=file,
            fix="use it with anatomark match",
        )  # fmt: skip
    _fill(method, weights, file)
    return Model(info, recipe, method.eval(), str(file))


def load_matcher(name: str | PathLike[str]) -> MatchingModel:
    """Load a model that matches images, on the CPU."""
    file, domain = find_model(name)
    info, weights = read_weights(file)
    recipe = parse_recipe(info.recipe, file)
    method = make_method(recipe, 0) if recipe.matches else None
    if not isinstance(method, Matcher) or domain is not None:
        raise UsageError(
            "finds landmarks in one image, it does not match two", path=file,
            fix=f"use it with anatomark detect; methods that match: {', '.join(MATCHERS)}",
        )  # fmt: skip
    _fill(method, weights, file)
    method.eval()
    return MatchingModel(info, recipe, method, str(file))


def read_weights(file: Path, *, trust: bool = False) -> tuple[ModelInfo, dict[str, Tensor]]:
    """All that is in the file of a model, of a universal one every domain."""
    check_readable(file, ModelError)
    return _unpickled(file, trust=trust) if file.suffix in _PICKLES else _read(file)


def read_info(file: Path) -> ModelInfo:
    """What goes with the weights of a file, which are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            record = (opened.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError, ValueError) as fault:
        raise ModelError(f"is not a sound safetensors file ({fault})", path=file) from None
    return _info(record or "", file)


def _chosen(info: ModelInfo, domain: str | None, file: Path) -> str | None:
    """The domain to load; the only one need not be named."""
    known = list(info.domains)
    if not known and domain is None:
        return None
    if not known:
        raise UsageError(
            f"has no domains, so none is called {domain}", path=file, fix="leave its name away"
        )
    if domain is None and len(known) == 1:
        return known[0]
    if domain in known:
        return domain
    near = get_close_matches(domain or "", known, 1)
    said = f"did you mean {near[0]}?" if near else f"name one, as MODEL/{known[0]}"
    asked = "knows several domains" if domain is None else f"has no domain {domain}"
    raise UsageError(f"{asked}; there is {', '.join(known)}", path=file, fix=said)


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
            fix="name its run folder or model.safetensors, or let anatomark detect open it: "
            "say --trust if you made it",
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


def _fill(method: Learner, weights: dict[str, Tensor], file: Path) -> None:
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
