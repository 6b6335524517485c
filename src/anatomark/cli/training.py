"""Commands about models: ``prepare``, ``train`` and ``models``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anatomark.cli import console
from anatomark.cli.commands import AsJson, Command, Device, Views
from anatomark.errors import UsageError, counted

RecipeFile = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe: a .toml file, or the name of a shipped one."),
]
Data = Annotated[
    list[str],
    typer.Option(
        "--data", metavar="COHORT",
        help="A cohort, or what prepare wrote; DOMAIN=COHORT for each domain of a recipe.",
    ),
]  # fmt: skip
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Instead of the recipe's number of epochs.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's seed.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
Domain = Annotated[
    str | None, typer.Option(help="Only this domain of the cohort, instead of the recipe's.")
]


def train(
    data: Data,
    out: Out,
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A recipe: a .toml file, or the name of a shipped one. May be left away with "
            "--from: it is then made from that model.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that is in the folder.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="M", help="Take the weights of this model where they fit."),
    ] = None,
    add_domain: Annotated[
        str | None,
        typer.Option(metavar="M", help="Add the recipe's domains to this universal model."),
    ] = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="GPUs (or processes) of each node.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes, under Slurm or torchrun.")] = 1,
    epochs: Epochs = None,
    seed: Seed = None,
    domain: Domain = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a cohort."""
    from anatomark.models.device import keep_freed_memory
    from anatomark.training.groups import parse_data
    from anatomark.training.run import Machine
    from anatomark.training.run import train as run

    keep_freed_memory()
    cohorts = parse_data(data)
    chosen = _recipe(recipe, start, cohorts, domain).changed(
        epochs=epochs, seed=seed, domain=domain
    )
    try:
        done = run(
            chosen, cohorts, out, resume=resume, start=start, add_domain=add_domain,
            machine=Machine(device, devices, nodes), bar=sys.stderr.isatty(),
        )  # fmt: skip
    except KeyboardInterrupt as stopped:
        for said in stopped.args:
            console.say_error(str(said))
        raise
    info = done.info
    if not info.trained:
        return  # of several processes, the first one speaks
    domains = {domain: {**own.trained, "unit": own.unit} for domain, own in info.domains.items()}
    if as_json:
        more = {"domains": domains} if domains else {}
        console.say_json({"written": str(out), **info.trained, **more})
        return
    console.say(f"epochs: {info.trained['epochs']}, best after {info.trained['best_epoch'] + 1}")
    if "validation_lost" in info.trained:
        console.say(f"what its matches are worth: {out / 'model-card.md'}")
        console.say(f"{out / 'model.safetensors'}")
        return
    for name, own in (domains or {"": {**info.trained, "unit": info.unit}}).items():
        console.say(
            f"{name}: ".lstrip(": ") + f"{own['validation_mre']:.2f} {own['unit']} mean error on "
            f"{counted(own['validation_cases'], 'validation case')}"
        )
    console.say(f"{out / 'model.safetensors'}")


def _recipe(recipe: str | None, start: str | None, data: Any, domain: str | None) -> Any:
    """The recipe that was named, or one made from the model to start from."""
    from anatomark.models.recipe import read_recipe
    from anatomark.training.few import recipe_from
    from anatomark.training.starting import Base

    if recipe is not None:
        return read_recipe(recipe)
    if start is None:
        raise UsageError("there is no recipe", fix="name one, or a model to start from with --from")
    return recipe_from(Base.read(start), data, domain=domain)


def crossvalidate(
    recipe: RecipeFile,
    data: Annotated[Path, typer.Option("--data", metavar="COHORT", help="A cohort.")],
    out: Out,
    folds: Annotated[int, typer.Option(min=2, help="Models that are trained.")] = 5,
    picture: Annotated[
        bool, typer.Option("--picture", help="Show the worst cases in the report.")
    ] = False,
    views: Views = 1,
    device: Device = "auto",
    epochs: Epochs = None,
    seed: Seed = None,
    domain: Domain = None,
    as_json: AsJson = False,
) -> None:
    """Train a model a fold, and measure each case with the model that has not seen its patient."""
    import matplotlib as mpl

    from anatomark.crossvalidation import crossvalidate as run
    from anatomark.metrics.records import group_record
    from anatomark.metrics.tables import rows_of
    from anatomark.models.device import keep_freed_memory
    from anatomark.models.recipe import read_recipe
    from anatomark.training.run import Machine

    mpl.use("agg")
    keep_freed_memory()
    chosen = read_recipe(recipe).changed(epochs=epochs, seed=seed, domain=domain)
    with console.Progress("folds") as bar:
        done = run(
            chosen, data, out, folds=folds, pictures=picture, views=views, machine=Machine(device),
            progress=bar.advance,
        )  # fmt: skip
    result = done.evaluation
    if as_json:
        console.say_json(
            {"pooled": group_record(result.pooled),
             "folds": done.folds, "report": str(done.report)}
        )  # fmt: skip
        return
    groups = [*result.landmarks, result.pooled]
    console.say_table(*rows_of(groups, result.table.unit, first="landmark"))
    console.say(f"{done.report}")


def prepare(recipe: RecipeFile, data: Data, out: Out, domain: Domain = None) -> None:
    """Decode every case of a cohort once, as a recipe shows it."""
    from anatomark.models.recipe import read_recipe
    from anatomark.training.cases import write_prepared
    from anatomark.training.groups import cases_of, parse_data

    chosen = read_recipe(recipe).changed(domain=domain)
    if out.is_dir() and any(out.iterdir()):
        raise UsageError("the folder is not empty", path=out, fix="name another")
    found = cases_of(parse_data(data), chosen)
    for name, cases in found.items():
        with console.Progress("preparing") as bar:
            write_prepared(cases, chosen.views()[name], out / name, progress=bar.advance)
        console.say(f"{out / name}: {counted(sum(map(len, cases.splits.values())), 'case')}")


def _worth(one: dict[str, Any]) -> tuple[str, str]:
    """Number of landmarks, and the validation error; a model that matches has neither."""
    if one["error"] is None:
        return "–", "see its card"
    return str(len(one["landmarks"])), f"{one['error']:.2f} {one['unit']}"


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Describe this one: its model card.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, and the recipes, or describe one."""
    from anatomark.models.cards import card_of, terms_of
    from anatomark.models.files import describe, find_model, shipped_models
    from anatomark.models.recipe import shipped_recipes

    if name in shipped_recipes() and name not in shipped_models():
        fix = f"train it: anatomark train {name}"
        raise UsageError("is a recipe, not a model", path=name, fix=fix)
    if name is not None:
        file, domain = find_model(name)
        known = describe(file)
        chosen = [one for one in known if domain is None or one["domain"] == domain]
        if not chosen:
            names = ", ".join(one["domain"] or one["name"] for one in known)
            raise UsageError(f"has no domain {domain}", path=name, fix=f"there is {names}")
        if as_json:
            console.say_json({"models": chosen, "card": card_of(file, domain)})
        else:
            console.say(card_of(file, domain) or "there is no model card beside it")
        return
    records = [
        {**one, "terms": terms_of(card_of(file, one["domain"]))}
        for file in shipped_models().values()
        for one in describe(file)
    ]
    if as_json:
        console.say_json({"models": records, "recipes": shipped_recipes()})
        return
    rows = [
        (
            one["name"], one["method"], f"{one['dimension']}D", str(one["modality"] or "any"),
            *_worth(one), one["terms"] or "–",
        )
        for one in records
    ]  # fmt: skip
    if rows:
        heads = ["model", "method", "", "images", "landmarks", "validation error", "terms"]
        console.say_table(heads, rows, essential=[0, 3, 4, 5, 6])
    else:
        console.say("no models come with this installation")
    console.say(f"recipes: {', '.join(shipped_recipes())}")


COMMANDS = (
    Command(
        "train",
        "Train a model on a cohort; --resume goes on with a run that was stopped.",
        "Example: anatomark train fang2023-mr --data prostate --domain mr --out run_mr",
        train,
    ),
    Command(
        "crossvalidate",
        "Train a model a fold, and measure each case with a model that has not seen its patient.",
        "Example: anatomark crossvalidate recipe.toml --data cohort --folds 5 --out cv",
        crossvalidate,
    ),
    Command(
        "prepare",
        "Decode a cohort once, as a recipe shows it, for machines that only train.",
        "Example: anatomark prepare fang2023-mr --data prostate --domain mr --out prepared",
        prepare,
    ),
    Command(
        "models",
        "List the models and recipes that come with the package; with a name, describe one.",
        "Example: anatomark models --json",
        models,
    ),
)
