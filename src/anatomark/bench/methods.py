"""Each method on an image: what the package does, against the same network in plain torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anatomark.bench.decode import one_by_one
from anatomark.bench.measure import BenchError, Setting, Task, Work
from anatomark.bench.plain import one_by_one as with_nets_apart
from anatomark.bench.textbook import textbook
from anatomark.correspondence import Matches
from anatomark.data import Image
from anatomark.geometry import FloatArray
from anatomark.maps import Affine
from anatomark.methods import Batch
from anatomark.models.device import half_precision
from anatomark.models.files import load_model, make_method
from anatomark.models.predicting import in_tiles, placed, predict
from anatomark.models.recipe import read_recipe
from anatomark.sampling import resample

_EVERYWHERE = ("cpu", "cuda")
_LANDMARKS = 8
_STEEP = 100.0
_PLAIN = "the network alone, contiguous, float32, textbook decoding"
_ASKED = {"cpu": "cpu", "cuda": "gpu"}  # how a user says it


def _volume(setting: Setting) -> Work:
    """Detection with the small shipped ultrasound model, whole path, of an image in memory."""
    from anatomark.datasets.phantoms.prostate.pair import prostate_pair

    side = setting.size[0]
    shape = (side,) * 3
    image = prostate_pair(0, mr_shape=shape, us_shape=shape, modalities=("us",)).us.image

    return _detected(image, "prostate-phantom-us", setting.device, _textbook_points, 0.5)


def _film(setting: Setting) -> Work:
    """Detection with the shipped universal model of a head film in memory."""
    from anatomark.datasets.phantoms.xray.head import head_xray

    high, wide = setting.size
    image = head_xray(0, shape=(high, wide)).image

    def decoded(method: Any, batch: Batch) -> Tensor:
        return one_by_one(method(batch).maps, method.config.radius)

    return _detected(image, "universal/head", setting.device, decoded, 0.5)


def _detected(
    image: Image,
    name: str,
    device: str,
    decoded: Callable[[Any, Batch], Tensor],
    tolerance_mm: float,
) -> Work:
    from anatomark.inference import Detector

    detector = Detector(name, device=_ASKED[device])
    ready = detector.prepare(image)
    method = load_model(name).method.to(device)
    batch = _batch(ready.array, np.asarray(ready.grid.extent), device)

    def naive() -> FloatArray:
        with torch.inference_mode():
            found = decoded(method, batch)[0].double().cpu().numpy()
        return np.asarray(ready.grid.from_normalised(found))

    def apart(ours: FloatArray, other: FloatArray) -> float:
        return float(np.linalg.norm(ours - other, axis=1).max())

    return Work(lambda: detector.detect(image).landmarks.points_mm, naive, apart, tolerance_mm)


def _batch(array: Any, extent: Any, device: str) -> Batch:
    return Batch(
        torch.from_numpy(np.asarray(array))[None].float().to(device),
        torch.from_numpy(np.asarray(extent))[None].float().to(device),
    )


def _fresh(recipe: str, landmarks: int) -> Any:
    """A method with the network of a recipe and seeded weights."""
    torch.manual_seed(0)
    return make_method(read_recipe(recipe), landmarks).eval()


def _published_volume(setting: Setting) -> Work:
    """The published network of Fang 2023 on all voxels of a volume."""
    method = _fresh("fang2023-us", 3)
    with torch.no_grad():  # fresh maps are flat, and every point the middle: this makes them steep
        list(method.network.parameters())[-2].mul_(_STEEP)
    return _predicted(method, method, setting, 0.4, _textbook_points)


def _textbook_points(method: Any, batch: Batch) -> Tensor:
    return textbook(method(batch).maps, batch.extent_mm).points_mm / (batch.extent_mm[:, None] / 2)


def _votes(setting: Setting) -> Work:
    """Both stages of Noothout 2020, with local networks apart in the reference."""
    method = _fresh("noothout2020-ccta", _LANDMARKS)

    def points(plain: Any, batch: Batch) -> Tensor:
        return torch.as_tensor(plain.predict(plain(batch)).points)

    return _predicted(method, with_nets_apart(method), setting, 1.5, points)


def _predicted(
    method: Any,
    plain: Any,
    setting: Setting,
    voxel_mm: float,
    points: Callable[[Any, Batch], Tensor],
) -> Work:
    """``predict`` of a volume of noise against plain torch, both with the same weights.

    Results agree to half a voxel; in bfloat16 to one, for a local box may lie one voxel aside.
    """
    import copy

    device = setting.device
    array = np.random.default_rng(0).random((1, *setting.size), np.float32)
    extent = voxel_mm * np.array(setting.size[::-1], float)
    plain = copy.deepcopy(plain).to(device)
    method = placed(method, 3, device)
    half = half_precision("auto", device)
    batch = _batch(array, extent, device)

    def ours() -> Tensor:
        return predict(method, [array], [extent], device=device, half=half).points

    def naive() -> Tensor:
        with torch.inference_mode():
            return points(plain, batch).cpu()

    def apart(found: Tensor, other: Tensor) -> float:
        mm = (found.double() - other.double()) * torch.from_numpy(extent / 2)
        return float(mm.norm(dim=-1).max())

    return Work(ours, naive, apart, voxel_mm if half else voxel_mm / 2)


def _published_film(setting: Setting) -> Work:
    """The published GU2Net on a film: its heatmaps, before any decoding."""
    import copy

    device = setting.device
    torch.manual_seed(0)
    method = make_method(read_recipe("zhu2021").of("head"), 19).eval()
    array = np.random.default_rng(0).random((1, *setting.size), np.float32)
    batch = _batch(array, setting.size[::-1], device)
    plain, fast = copy.deepcopy(method).to(device), placed(method, 2, device)
    half = half_precision("auto", device)

    @torch.inference_mode()
    def ours() -> Tensor:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            found = in_tiles(fast, Batch(images, batch.extent_mm))  # type: ignore[arg-type]
        return torch.as_tensor(found.maps)

    @torch.inference_mode()
    def naive() -> Tensor:
        return torch.as_tensor(plain(batch).maps)

    def apart(found: Tensor, other: Tensor) -> float:
        return float((found.float() - other).std() / other.std())

    # 8 bits of a bfloat16, through two dozen layers.
    return Work(ours, naive, apart, 0.05 if half else 1e-3)


def _matching(setting: Setting) -> Work:
    """Two CT slices: the learnt matcher against SIFT; both must find the map between them."""
    from anatomark.datasets.phantoms.ct.abdomen import abdomen_slice
    from anatomark.matching.matcher import LearntMatcher
    from anatomark.matching.sift import SiftMatcher
    from anatomark.models.files import load_matcher

    high, wide = setting.size
    fixed = abdomen_slice(0, shape=(high, wide)).image
    turn = np.deg2rad(6)
    matrix = 1.04 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    push = Affine.about(fixed.grid.centre, matrix, [7.0, -5.0])
    moving = resample(fixed, fixed.grid, push=push, fill=-1000)
    matcher = LearntMatcher(load_matcher("ct-slices"), device=_ASKED[setting.device])  # type: ignore[arg-type]
    sift = SiftMatcher("sift")
    span = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    places = np.asarray(fixed.grid.from_normalised(2 * span - 1))
    true = push(places)

    def apart(ours: Matches, naive: Matches) -> float:
        return max(float(np.linalg.norm(_map_of(m)(places) - true, axis=1).max())
                   for m in (ours, naive))  # fmt: skip

    return Work(lambda: matcher.match(fixed, moving), lambda: sift.match(fixed, moving), apart, 2.0)


def _map_of(matches: Matches) -> Any:
    """The affine map that most pairs agree on, from fixed to moving points."""
    from anatomark.registration.robust import fit_robust

    if len(matches) < 10:
        raise BenchError(f"only {len(matches)} pairs were found")
    return fit_robust(matches.fixed_mm, matches.moving_mm, "affine", threshold_mm=3.0).map


TASKS = (
    Task(
        "fang2023: detect with prostate-phantom-us", _PLAIN, _volume, (64,), (32,),
        "ultrasound {0}³", unit="mm", devices=_EVERYWHERE,
    ),
    Task(
        "fang2023: published network and points", _PLAIN, _published_volume, (96,) * 3, (32,) * 3,
        "volume {0}×{1}×{2}, 3 points", unit="mm", devices=_EVERYWHERE, repeats=3,
    ),
    Task(
        "zhu2021: detect with universal/head", _PLAIN, _film, (800, 640), (400, 320),
        "film {0}×{1}, 19 points", unit="mm", devices=_EVERYWHERE,
    ),
    Task(
        "zhu2021: published network, no decoding", "the same, contiguous, float32",
        _published_film, (512, 416), (64, 64), "film {0}×{1}, 19 maps", unit="of the spread",
        devices=_EVERYWHERE, repeats=3,
    ),
    Task(
        "noothout2020: published networks, both stages",
        "the same, contiguous, float32, a local network at a time", _votes, (64, 96, 96),
        (32, 32, 32), f"volume {{0}}×{{1}}×{{2}}, {_LANDMARKS} points", unit="mm",
        devices=_EVERYWHERE, repeats=3,
    ),
    Task(
        "grewal2020: match with ct-slices", "SIFT of OpenCV, mutual nearest (on the processor)",
        _matching, (512, 512), (256, 256), "two slices {0}×{1}", unit="mm from the true map",
        devices=_EVERYWHERE, repeats=3, needs="cv2",
    ),
)  # fmt: skip
