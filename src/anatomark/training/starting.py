"""Weights to start from: those of another model, or of one that gets a further domain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from anatomark.errors import UsageError
from anatomark.methods import Learner
from anatomark.models.cards import card_of
from anatomark.models.files import ModelInfo, find_model, read_weights
from anatomark.models.recipe import OF_A_DOMAIN, Recipe, parse_recipe
from anatomark.networks.gu2net import domain_of, in_domain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Base:
    """A whole model as it lies in its file, with all its domains; ``domain`` if one was named."""

    info: ModelInfo
    weights: dict[str, Tensor]
    path: str
    sha256: str  # of the file
    card: str = ""
    domain: str | None = None

    @classmethod
    def read(cls, name: str | PathLike[str]) -> Base:
        """A file, a run folder or a shipped model; its domains as in ``MODEL/DOMAIN``."""
        file, domain = find_model(name)
        info, weights = read_weights(file)
        if domain is not None and domain not in info.domains:
            known = ", ".join(info.domains) or "none"
            raise UsageError(f"has no domain {domain}", path=file, fix=f"there is {known}")
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(info, weights, str(file), digest, card_of(file), domain)


def start_from(method: Learner, base: Base) -> None:
    """Take over every weight that has the same name and shape; the others stay fresh.

    A domain that the model does not know starts from the one that was named, or from its first.
    """
    own = method.state_dict()
    given = dict(base.weights)
    domains = dict.fromkeys(filter(None, map(domain_of, given)))
    source = base.domain or next(iter(domains), None)
    if source is not None:
        like = {k: v for k, v in given.items() if domain_of(k) == source}
        for new in dict.fromkeys(filter(None, map(domain_of, own))):
            if new not in domains or base.domain is not None:
                given |= {in_domain(k, new): v for k, v in like.items()}
    same = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if 2 * len(same) < len(own):
        raise UsageError(
            f"only {len(same)} of {len(own)} weights fit the network of the recipe", path=base.path,
            fix="name a model of the same method and network",
        )  # fmt: skip
    method.load_state_dict(same, strict=False)


def add_to(method: Learner, recipe: Recipe, base: Base) -> None:
    """Take over what all domains share and hold it still: only the new domain's weights learn."""
    before = parse_recipe(base.info.recipe, base.path)
    if base.domain is not None:
        raise UsageError("name the whole model here, without a domain", path=base.path)
    _check(recipe, before, base)
    shared = {k: v for k, v in base.weights.items() if domain_of(k) is None}
    own = method.state_dict()
    lost = [k for k in own if domain_of(k) is None and k not in shared]
    if lost:
        raise UsageError(f"has no weights {lost[0]}", path=base.path, fix="name another model")
    method.load_state_dict(shared, strict=False)
    for name, parameter in method.named_parameters():
        parameter.requires_grad_(domain_of(name) is not None)


def _check(recipe: Recipe, before: Recipe, base: Base) -> None:
    if not before.domains or not recipe.domains:
        which = base.path if not before.domains else recipe.name
        raise UsageError(
            "has no [domains]", path=which, fix="a domain can be added to a universal model only"
        )
    twice = [domain for domain in recipe.domains if domain in before.domains]
    if twice:
        raise UsageError(
            f"knows the domain {twice[0]} already", path=base.path, fix="give the new one a name"
        )
    if (recipe.method, recipe.config()) != (before.method, before.config()):
        raise UsageError(
            "has other [settings] than the recipe", path=base.path,
            fix="copy the method and the settings of its recipe",
        )  # fmt: skip
    if recipe.data.channels != before.data.channels:
        raise UsageError("has another number of channels than the recipe", path=base.path)


def joined(base: Base, info: ModelInfo, weights: dict[str, Tensor]) -> tuple[ModelInfo, Any]:
    """The base with the domains of ``info`` added; nothing of the base is changed."""
    new = parse_recipe(info.recipe)
    tables = {}
    for domain, view in new.views().items():
        record = view.complete()
        tables[domain] = {name: record[name] for name in OF_A_DOMAIN if record[name] is not None}
    recipe = {**base.info.recipe, "domains": {**base.info.recipe["domains"], **tables}}
    both = base.info.model_copy(
        update={"recipe": recipe, "domains": {**base.info.domains, **info.domains}}
    )
    own = {k: v for k, v in weights.items() if domain_of(k) is not None}
    return both, {**base.weights, **own}
