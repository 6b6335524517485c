"""Model files: everything travels, nothing is executed, every fault has its sentence."""

from __future__ import annotations

import json
import pickle
import warnings

import pytest
import torch
from safetensors.torch import save_file

from anatomark.cli.app import main
from anatomark.errors import ModelError, UsageError, WriteError
from anatomark.models.files import ModelInfo, load_model, make_method, save_model
from anatomark.models.recipe import parse_recipe

SMALL = {"kind": "voxelmorph", "encoder": (4,), "decoder": (4,), "final": (4,)}
RECIPE = parse_recipe({
    "name": "tiny", "method": "fang2023", "grid": {"size": [16, 16]},
    "settings": {"network": SMALL},
})  # fmt: skip
INFO = ModelInfo(recipe=RECIPE.complete(), landmarks=("a", "b"), trained={"cases": 3})


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    weights = make_method(RECIPE, 2).state_dict()
    save_model(tmp_path / "model.safetensors", INFO, weights)
    return tmp_path / "model.safetensors"


def test_everything_travels(saved):
    model = load_model(saved)
    torch.manual_seed(0)
    for name, value in make_method(RECIPE, 2).state_dict().items():
        assert torch.equal(model.method.state_dict()[name], value)
    assert model.landmarks == ("a", "b")
    assert model.recipe == RECIPE or model.recipe.complete() == RECIPE.complete()
    assert model.info.trained == {"cases": 3}
    assert load_model(saved.parent).info == model.info  # a folder will do


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(saved, part):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError, match="is not a sound safetensors file|the file is empty"):
        load_model(saved)


def test_damaged_headers_are_refused(saved):
    content = bytearray(saved.read_bytes())
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        place = int(torch.randint(0, 600, (), generator=rng))
        broken = bytearray(content)
        broken[place] ^= 1 << int(torch.randint(0, 8, (), generator=rng))
        saved.write_bytes(broken)
        try:
            load_model(saved)
        except (ModelError, UsageError) as fault:
            assert str(saved) in str(fault)


def test_weights_of_another_network_are_refused(saved):
    other = RECIPE.complete()
    other["settings"]["network"]["encoder"] = [6]
    info = ModelInfo(recipe=other, landmarks=("a", "b"))
    save_model(saved, info, make_method(RECIPE, 2).state_dict())
    with pytest.raises(
        ModelError, match="weights are of another network: 0 missing, 0 unknown, 3 of"
    ):
        load_model(saved)
    save_model(saved, ModelInfo(recipe=RECIPE.complete(), landmarks=("a", "b", "c")), {})
    with pytest.raises(ModelError, match="missing, 0 unknown"):
        load_model(saved)


def test_weights_of_others_are_refused(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="it has no recipe"):
        load_model(tmp_path / "model.safetensors")


class Trap:
    """What a hostile checkpoint would hold."""

    def __reduce__(self):
        return (warnings.warn, ("the trap was sprung",))


def test_a_pickle_is_not_opened_unless_trusted(tmp_path):
    file = tmp_path / "last.ckpt"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="can run any code .* say --trust if you made it"):
        load_model(file)
    torch.save({"something": 1}, file)
    with pytest.raises(ModelError, match="is not a checkpoint of anatomark"):
        load_model(file, trust=True)


def test_a_trusted_checkpoint_opens(tmp_path):
    weights = make_method(RECIPE, 2).state_dict()
    state = {f"method.{name}": value for name, value in weights.items()}
    torch.save({"anatomark": INFO.model_dump(), "state_dict": state}, tmp_path / "mine.pt")
    assert load_model(tmp_path / "mine.pt", trust=True).landmarks == ("a", "b")


def test_names_that_are_nothing(tmp_path):
    with pytest.raises(UsageError, match="neither a file, a run folder nor a shipped model"):
        load_model("nothing")
    with pytest.raises(UsageError, match="finish its training"):
        load_model(tmp_path)


def test_a_full_disk_leaves_the_old_model(small_disk):
    torch.manual_seed(0)
    path = small_disk / "model.safetensors"
    save_model(path, INFO, make_method(RECIPE, 2).state_dict())
    before = path.read_bytes()
    large = {"w": torch.zeros(10_000_000)}
    with pytest.raises(WriteError, match="no space left"):
        save_model(path, INFO, large)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_weights_that_are_no_numbers_or_not_those_that_were_saved(tmp_path):
    weights = make_method(RECIPE, 2).state_dict()
    name = next(iter(weights))
    broken = {**weights, name: weights[name] * torch.nan}
    save_model(tmp_path / "nan.safetensors", INFO, broken)
    with pytest.raises(ModelError, match="has weights that are not numbers"):
        load_model(tmp_path / "nan.safetensors")
    save_model(tmp_path / "whole.safetensors", INFO, weights)
    content = bytearray((tmp_path / "whole.safetensors").read_bytes())
    content[-2] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="not those that were saved"):
        load_model(tmp_path / "flipped.safetensors")


def test_half_as_large_and_read_as_before(saved, tmp_path):
    torch.manual_seed(0)
    weights = make_method(RECIPE, 2).state_dict()
    save_model(tmp_path / "half.safetensors", INFO, weights, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.8 * saved.stat().st_size
    read = load_model(tmp_path / "half.safetensors").method.state_dict()
    for name, value in weights.items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], value.half().float())


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"did you mean prostate-phantom-mr\?"):
        load_model("prostate-fantom-mr")


def test_a_model_without_domains_has_none(saved):
    with pytest.raises(UsageError, match="has no domains, so none is called head"):
        load_model(saved.parent / "head")


def test_models_lists_and_describes(capsys):
    assert main(["models"]) == 0
    assert "prostate-phantom-mr" in capsys.readouterr().out
    assert main(["models", "prostate-phantom-mr"]) == 0
    assert "# prostate-phantom-mr" in capsys.readouterr().out
    assert main(["models", "prostate-phantom-us", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in said["models"]] == ["prostate-phantom-us"]
    assert said["models"][0]["landmarks"]
    assert main(["models", "nothing-like-it"]) == 2
