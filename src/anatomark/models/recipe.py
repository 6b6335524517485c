"""A recipe: everything that a training run depends on, as TOML.

Sizes and spacings are in x, y(, z) order, in the unit of the cohort's images.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from anatomark.augment import PRESETS, AugmentConfig, preset
from anatomark.errors import UsageError
from anatomark.io.files import read_text
from anatomark.methods import MATCHERS, METHODS, MethodConfig, method_named

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Part = Annotated[float, Field(ge=0, le=1)]
DomainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GridRecipe(_Part):
    """The voxels that the network sees.

    Without ``spacing`` the whole image is shown on ``size`` voxels: with its proportions kept and
    the rest filled (``pad``), or each axis by itself (``stretch``). With ``spacing`` voxels always
    have that size: training shows windows of ``size`` voxels, inference the whole image.
    """

    size: Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)]
    spacing: Positive | tuple[Positive, ...] | None = None
    fit: Literal["pad", "stretch"] = "pad"
    orientation: Literal["LPS", "as stored"] = Field(
        default="LPS", description="Turn the axes of 3D images so that they run nearest to L, P, S."
    )

    @field_validator("spacing", mode="before")
    @classmethod
    def _one_or_each(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _same_dimension(self) -> Self:
        if isinstance(self.spacing, tuple) and len(self.spacing) != len(self.size):
            raise ValueError("size and spacing differ in their number of axes")
        return self

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)


class IntensityRecipe(_Part):
    """How grey values become what the network sees.

    ``zscore``: mean 0 and SD 1 over the image. ``percentiles``: ``low`` and ``high`` percent of
    the values become 0 and 1, cut there. ``window``: the values ``low`` and ``high`` (HU, say)
    become 0 and 1, cut there. ``equalise``: the part of the image's voxels that are darker.
    ``none``: as they are.
    """

    kind: Literal["zscore", "percentiles", "window", "equalise", "none"] = "percentiles"
    low: float = 0.5
    high: float = 99.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.kind == "percentiles" and not 0 <= self.low < self.high <= 100:
            raise ValueError("percentiles are between 0 and 100")
        return self


class DataRecipe(_Part):
    """Which cases of the cohort are used for what."""

    domain: str | None = Field(default=None, description="Only this domain of the cohort.")
    channels: Count = 1
    train: str = "train"
    validation: str = "val"
    share: Positive | None = Field(
        default=None,
        description="Of the steps of an epoch, relative to other domains; else as its cases.",
    )
    validation_part: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15, description="Part of the training patients, if there is no such split."
    )
    draw: Literal["random", "last"] = Field(
        default="random", description="Which of them: by chance, or the last of the cohort."
    )
    body_above: float | None = Field(
        default=None,
        description="Grey value, as the network sees it, above which there is body (matching).",
    )


class TrainingRecipe(_Part):
    """How the weights are found. ``batch`` counts all devices together."""

    epochs: Count = 100
    steps_per_epoch: Count | None = Field(
        default=None, description="Without it, an epoch shows every training case once."
    )
    batch: Count = 4
    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "cyclic"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    lowest_rate: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Where the rate of a cosine ends, and that of a cycle begins."
    )
    cycle_steps: Count = Field(
        default=4000,
        description="Steps of a cycle, up and down; each is half as high as the last (Smith 2017).",
    )
    clip_gradient: Positive | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Decay of the moving average of the weights; 0 switches it off."
    )
    validate_every: Count = Field(default=1, description="Epochs.")
    patience: Count | None = Field(
        default=None, description="Stop after so many validations without a better error."
    )
    precision: Literal["auto", "bf16", "float32"] = "auto"
    channels_last: bool = True
    memory_gb: Annotated[float, Field(ge=0)] = Field(
        default=4.0, description="Decoded images that are kept in memory, at most."
    )
    readers: Annotated[int, Field(ge=1, le=64)] = 2


class DetectionRecipe(_Part):
    """What becomes of the points that the network finds.

    ``check`` compares them with the shapes of the training cases and flags what is unlikely.
    ``fit`` also moves all of them to the most likely place between what the network saw, each
    point as far as it is sure of it, and the shapes: for many points on something rigid.
    """

    shape: Literal["check", "fit"] = "check"


OF_A_DOMAIN = ("modality", "grid", "intensity", "data", "augment", "detection")


class Recipe(_Part):
    """What ``anatomark train`` reads.

    ``domains`` are the body parts of a universal model, each with what it has otherwise than the
    rest of the recipe: tables as at the top, of which only what differs needs to be there.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    method: str
    modality: str | None = Field(default=None, description="As in DICOM: MR, US, CT, DX, …")
    seed: Annotated[int, Field(ge=0)] = 0
    grid: GridRecipe
    intensity: IntensityRecipe = IntensityRecipe()
    data: DataRecipe = DataRecipe()
    settings: Mapping[str, Any] = Field(default_factory=dict)
    augment: AugmentConfig = AugmentConfig()
    training: TrainingRecipe = TrainingRecipe()
    detection: DetectionRecipe = DetectionRecipe()
    domains: Mapping[DomainName, Mapping[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, raw: Any) -> Any:
        """``augment = "light"``, or a table that starts from a ``preset``."""
        if not isinstance(raw, dict) or "augment" not in raw:
            return raw
        given = raw["augment"]
        given = {"preset": given} if isinstance(given, str) else given
        if not isinstance(given, dict) or "preset" not in given:
            return raw
        size = raw.get("grid", {}).get("size", ()) if isinstance(raw.get("grid"), dict) else ()
        names = dict.fromkeys(name for name, _ in PRESETS)
        if given["preset"] not in names:
            raise ValueError(f"augment: preset is one of {', '.join(names)}")
        base = preset(given["preset"], 2 if len(size) == 2 else 3).model_dump()
        rest = {k: v for k, v in given.items() if k != "preset"}
        return {**raw, "augment": {**base, **rest}}

    @model_validator(mode="after")
    def _method(self) -> Self:
        known = [*METHODS, *MATCHERS]
        if self.method not in known:
            raise ValueError(f"method is one of {', '.join(known)}, not {self.method!r}")
        if self.domains and not method_named(self.method).universal:
            raise ValueError(f"{self.method} knows one domain only: leave [domains] away")
        try:
            config = self.config()
        except ValidationError as fault:
            table = method_named(self.method).Config
            found = [_problem(e, table, "settings.") for e in fault.errors(include_url=False)]
            raise ValueError("; ".join(found)) from None
        if self.grid.dimension not in method_named(self.method).dimensions:
            raise ValueError(f"{self.method} is not for {self.grid.dimension}D images")
        views = self.views()
        if len({view.data.channels for view in views.values()} | {self.data.channels}) > 1:
            raise ValueError("data.channels is the same for all domains")
        if len({view.data.share is None for view in views.values()}) > 1:
            raise ValueError("data.share is said of all domains or of none")
        for view in views.values():
            config.check_grid(view.grid.size, windows=view.grid.spacing is not None)
        return self

    @property
    def matches(self) -> bool:
        """Whether its method matches images; else it finds landmarks."""
        return self.method in MATCHERS

    def views(self) -> dict[str, Recipe]:
        """The recipe as each domain sees it; by "" itself, if there are no domains."""
        return {domain: self.of(domain) for domain in self.domains} or {"": self}

    def of(self, domain: str) -> Recipe:
        """The recipe as one domain sees it; that domain is the only one left."""
        if self.domains == {domain: {}}:
            return self
        record = self.model_dump(mode="json")
        for table, given in self.domains[domain].items():
            if table not in OF_A_DOMAIN:
                known = ", ".join(OF_A_DOMAIN)
                raise ValueError(f"domains.{domain}.{table} is not known; there is {known}")
            base = record[table]
            whole = isinstance(given, Mapping) and isinstance(base, Mapping)
            whole = whole and "preset" not in given  # which says all that it does not
            record[table] = {**base, **given} if whole else given
        record["domains"] = {domain: {}}
        return _view(record, domain)

    def config(self) -> MethodConfig:
        """The settings of the method, with its defaults."""
        return method_named(self.method).Config(**self.settings)

    def changed(
        self, *, epochs: int | None = None, seed: int | None = None, domain: str | None = None
    ) -> Recipe:
        """The recipe with what a command line said instead."""
        record = self.complete()
        if epochs is not None:
            record["training"]["epochs"] = epochs
        if seed is not None:
            record["seed"] = seed
        if domain is not None and self.domains:
            raise UsageError(
                "the recipe has [domains]", fix="say --data DOMAIN=COHORT instead of --domain"
            )
        if domain is not None:
            record["data"]["domain"] = domain
        return parse_recipe(record)

    def complete(self) -> dict[str, Any]:
        """Every value, defaults included, as plain JSON types."""
        record = self.model_dump(mode="json")
        record["settings"] = self.config().model_dump(mode="json")
        return record


def _view(record: Mapping[str, Any], domain: str) -> Recipe:
    try:
        return Recipe.model_validate(record)
    except ValidationError as fault:
        said = "; ".join(_problem(e) for e in fault.errors(include_url=False))
        raise ValueError(f"domains.{domain}: {said}") from None


# -- files ---------------------------------------------------------------------------------------


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("anatomark") / "recipes"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


def read_recipe(path: str | PathLike[str]) -> Recipe:
    """Read a recipe from a ``.toml`` file, or one that comes with the package by its name."""
    given = Path(path)
    name = given.name.removesuffix(".toml")
    if not given.exists() and given.parent == Path() and name in shipped_recipes():
        text = (resources.files("anatomark") / "recipes" / f"{name}.toml").read_text("utf-8")
    elif not given.exists():
        raise UsageError(
            "is neither a file nor a recipe of the package", path=path,
            fix=f"there is {', '.join(shipped_recipes())}",
        )  # fmt: skip
    else:
        text = read_text(given, UsageError)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise UsageError(f"is not TOML: {fault}", path=path) from None
    return parse_recipe(raw, path)


def parse_recipe(raw: Mapping[str, Any], path: str | PathLike[str] | None = None) -> Recipe:
    """Check the content of a recipe; one error lists all problems."""
    try:
        return Recipe.model_validate(dict(raw))
    except ValidationError as fault:
        problems = "; ".join(_problem(e) for e in fault.errors(include_url=False))
        raise UsageError(f"is not a sound recipe: {problems}", path=path) from None


def _problem(error: Any, table: type[BaseModel] = Recipe, prefix: str = "") -> str:
    """One mistake in the words of the recipe, whose part ``table`` is behind ``prefix``."""
    place = prefix + ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place} is missing"
    if error["type"] != "extra_forbidden":
        return ": ".join(filter(None, (place, error["msg"].removeprefix("Value error, "))))
    known = _keys(table, error["loc"][:-1])
    near = get_close_matches(str(error["loc"][-1]), known, 1)
    said = f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"
    return f"{place} is not known; {said}"


def _keys(table: Any, path: Sequence[Any]) -> list[str]:
    """What a table of a recipe may hold."""
    for place, part in enumerate(path):
        if part not in table.model_fields:
            continue  # the kind of one of several tables, chosen below
        kinds = [table.model_fields[part].annotation]
        kinds += [k for kind in kinds for k in get_args(kind)]
        tables = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not tables:
            return []
        kind = path[place + 1] if place + 1 < len(path) else None
        own = [
            t for t in tables if "kind" in t.model_fields and t.model_fields["kind"].default == kind
        ]
        table = (own or tables)[0]
    return list(table.model_fields)


def format_recipe(recipe: Recipe) -> str:
    """The recipe as TOML, every value written out."""
    lines: list[str] = []
    _table(recipe.complete(), (), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    own = {k: v for k, v in values.items() if not isinstance(v, Mapping) and v is not None}
    if path and (own or not values):
        lines += ["", f"[{'.'.join(path)}]"]
    lines += [f"{key} = {_literal(value)}" for key, value in own.items()]
    for key, value in values.items():
        if isinstance(value, Mapping):
            _table(value, (*path, key), lines)


def _literal(value: Any) -> str:
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(v) for v in value)}]"
    return json.dumps(value, ensure_ascii=False)
