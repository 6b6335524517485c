"""Transform files: what they hold, in which direction, judged by SimpleITK and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from anatomark.errors import LossWarning, TransformError, UsageError
from anatomark.geometry import Grid
from anatomark.io.transforms.formats import read_transform, write_transform
from anatomark.maps import Affine, BSpline, Chain, Displacement, Inverse, ThinPlate

ITK_SUFFIXES = [".tfm", ".h5", ".hdf5"]
FIELD_SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]
MATRIX_SUFFIXES = [".txt", ".csv"]
BOX = Grid((12, 13, 14), spacing=(4, 4, 4), origin=(-25, -24, -23))
BOX_2D = Grid((12, 13), spacing=(4, 4), origin=(-25, -24))


def rigid(seed, dimension):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    return Affine(turn, rng.normal(0, 40, dimension))


def affine(seed, dimension):
    rng = np.random.default_rng(seed)
    return Affine(
        np.eye(dimension) + rng.normal(0, 0.2, (dimension,) * 2), rng.normal(0, 40, dimension)
    )


def smooth_field(grid, seed=0, size_mm=2.0):
    """A displacement that is zero on the border, so that it has an inverse everywhere."""
    rng = np.random.default_rng(seed)
    bump = np.ones(grid.shape)
    for axis, n in enumerate(grid.shape):
        shape = [1] * grid.dimension
        shape[axis] = n
        bump = bump * np.sin(np.linspace(0, np.pi, n)).reshape(shape) ** 2
    directions = rng.normal(0, size_mm, grid.dimension).reshape(-1, *[1] * grid.dimension)
    return Displacement(grid, directions * bump)


def spline(seed=0):
    rng = np.random.default_rng(seed)
    return BSpline(
        Grid((6, 7, 8), spacing=(9, 9, 9), origin=(-30, -30, -30)), rng.normal(0, 1, (3, 6, 7, 8))
    )


def near(grid, seed=0, n=60):
    return grid.from_normalised(np.random.default_rng(seed).uniform(-1.2, 1.2, (n, grid.dimension)))


def by_itk(path, points):
    transform = sitk.ReadTransform(str(path))
    return np.array([transform.TransformPoint(p.tolist()) for p in points])


# -- direction -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ITK_SUFFIXES)
@given(st.integers(0, 10**6), st.sampled_from([2, 3]), st.sampled_from([rigid, affine]))
def test_points_files_push_as_the_map_and_image_files_the_other_way(
    tmp_path_factory, suffix, seed, dimension, make
):
    folder = tmp_path_factory.mktemp("direction")
    warp, points = make(seed, dimension), near(BOX if dimension == 3 else BOX_2D, seed)
    write_transform(warp, folder / f"p{suffix}", direction="points")
    write_transform(warp, folder / f"i{suffix}", direction="image")
    np.testing.assert_allclose(by_itk(folder / f"p{suffix}", points), warp(points), atol=1e-6)
    np.testing.assert_allclose(by_itk(folder / f"i{suffix}", warp(points)), points, atol=1e-6)
    for name, direction in (("p", "points"), ("i", "image")):
        back = read_transform(folder / f"{name}{suffix}", direction=direction)
        np.testing.assert_allclose(back(points), warp(points), atol=1e-6)


WARPS = {
    "affine": (
        lambda: Affine.about(BOX.centre, [[0.9, 0.3, 0], [-0.3, 0.9, 0], [0, 0, 1.1]], [3, -2, 1]),
        0.0,
    ),
    "field": (lambda: smooth_field(BOX, size_mm=4), 0.05),
    "chain": (lambda: Chain((rigid_about_centre(), smooth_field(BOX, size_mm=4))), 0.05),
}


def rigid_about_centre():
    c, s = np.cos(0.3), np.sin(0.3)
    return Affine.about(BOX.centre, [[c, -s, 0], [s, c, 0], [0, 0, 1]], [2, 1, -1])


@pytest.mark.filterwarnings("ignore::anatomark.errors.LossWarning")
@pytest.mark.parametrize("suffix", [".h5", ".nii.gz"])
@pytest.mark.parametrize("name", WARPS)
def test_a_blob_resampled_by_itk_with_an_image_file_is_where_the_map_pushes_its_landmark(
    tmp_path, suffix, name
):
    warp = WARPS[name][0]()
    fine = Grid((64, 70, 75), spacing=(0.75, 0.75, 0.75), origin=(-25, -24, -23))
    landmark = fine.centre + np.array([3.3, -4.1, 2.7])
    path = tmp_path / f"t{suffix}"
    write_transform(warp, path, direction="image", grid=fine.resized((32, 35, 38)))

    index = np.stack(np.meshgrid(*[np.arange(n) for n in fine.shape], indexing="ij")[::-1], -1)
    apart = np.linalg.norm(fine.to_world(index) - landmark, axis=-1)
    moving = as_itk_image(np.exp(-(apart**2) / (2 * 1.1**2)), fine)
    if suffix == ".nii.gz":
        transform = sitk.DisplacementFieldTransform(
            sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
        )
    else:
        transform = sitk.ReadTransform(str(path))
    values = sitk.GetArrayFromImage(sitk.Resample(moving, moving, transform, sitk.sitkLinear))
    centroid = (fine.to_world(index) * values[..., None]).sum((0, 1, 2)) / values.sum()

    pushed = warp(landmark[None])[0]
    assert np.linalg.norm(pushed - landmark) > 2  # the wrong direction would show
    assert np.linalg.norm(centroid - pushed) < 0.1


def as_itk_image(array, grid):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin(grid.origin.tolist())
    image.SetDirection(grid.direction.ravel().tolist())
    return image


def test_a_registration_result_of_itk_read_as_image_pushes_the_moving_points(tmp_path):
    # ITK's own sense: a shift of +5 in x fetches values from 5 mm to the left side of the world.
    sitk.WriteTransform(sitk.TranslationTransform(3, (5.0, 0, 0)), str(tmp_path / "t.tfm"))
    warp = read_transform(tmp_path / "t.tfm", direction="image")
    np.testing.assert_array_equal(warp(np.array([[1.0, 2, 3]])), [[-4, 2, 3]])


@pytest.mark.parametrize("direction", [None, "", "forward", "image "])
def test_a_direction_that_is_not_stated_is_an_error(tmp_path, direction):
    with pytest.raises(UsageError, match="direction of a transform file must be stated"):
        write_transform(Affine.identity(3), tmp_path / "t.tfm", direction=direction)
    assert list(tmp_path.iterdir()) == []
    write_transform(Affine.identity(3), tmp_path / "t.tfm", direction="points")
    with pytest.raises(UsageError, match="direction of a transform file must be stated"):
        read_transform(tmp_path / "t.tfm", direction=direction)
    with pytest.raises(TypeError):
        read_transform(tmp_path / "t.tfm")


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".csv"])
def test_a_text_file_of_ours_contradicts_a_caller_who_states_the_wrong_direction(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    write_transform(rigid(0, 3), path, direction="image")
    with pytest.raises(UsageError, match="says its direction is 'image', the caller says 'points'"):
        read_transform(path, direction="points")


# -- 3D Slicer -------------------------------------------------------------------------------------

# As 3D Slicer saves a linear transform: from parent, LPS.
SLICER = """#Insight Transform File V1.0
#Transform 0
Transform: AffineTransform_double_3_3
Parameters: 0 1 0 -1 0 0 0 0 1 10 20 30
FixedParameters: 0 0 0
"""


def test_a_linear_transform_of_slicer_against_numbers_by_hand(tmp_path):
    path = tmp_path / "LinearTransform.tfm"
    path.write_text(SLICER)
    # The file takes (x, y, z) to (y + 10, -x + 20, z + 30); its inverse (x, y, z) to
    # (20 - y, x - 10, z - 30).
    points = np.array([[1.0, 2, 3]])
    np.testing.assert_allclose(read_transform(path, direction="points")(points), [[12, 19, 33]])
    np.testing.assert_allclose(read_transform(path, direction="image")(points), [[18, -9, -27]])


def test_a_linear_map_is_written_as_the_type_that_slicer_loads(tmp_path):
    write_transform(rigid(0, 3), tmp_path / "t.tfm", direction="image")
    lines = (tmp_path / "t.tfm").read_text().splitlines()
    assert lines[0] == "#Insight Transform File V1.0"
    assert lines[2:4] == ["#Transform 0", "Transform: AffineTransform_double_3_3"]
    write_transform(rigid(0, 3), tmp_path / "t.h5", direction="image")
    assert b"AffineTransform_double_3_3" in (tmp_path / "t.h5").read_bytes()
    write_transform(rigid(0, 2), tmp_path / "flat.tfm", direction="image")
    assert "AffineTransform_double_2_2" in (tmp_path / "flat.tfm").read_text()


# -- every kind of map -----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ITK_SUFFIXES)
@pytest.mark.parametrize(
    "make",
    [
        lambda: smooth_field(BOX),
        lambda: smooth_field(BOX_2D),
        spline,
        lambda: Chain((affine(0, 3), smooth_field(BOX), Chain((rigid(1, 3), spline())))),
        lambda: Inverse(affine(0, 3)),
    ],
)
def test_maps_with_an_itk_counterpart_are_written_exactly(tmp_path, suffix, make):
    warp, path = make(), tmp_path / f"t{suffix}"
    points = near(BOX if warp.dimension == 3 else BOX_2D)
    write_transform(warp, path, direction="points")
    np.testing.assert_allclose(by_itk(path, points), warp(points), atol=1e-6)
    np.testing.assert_allclose(
        read_transform(path, direction="points")(points), warp(points), atol=1e-8
    )


def test_the_inverse_of_a_field_is_written_as_the_field_for_images(tmp_path):
    field = smooth_field(BOX)
    write_transform(Inverse(field), tmp_path / "t.h5", direction="image")
    np.testing.assert_allclose(by_itk(tmp_path / "t.h5", near(BOX)), field(near(BOX)), atol=1e-6)
    back = read_transform(tmp_path / "t.h5", direction="image")
    assert isinstance(back, Inverse)
    np.testing.assert_allclose(back(field(near(BOX))), near(BOX), atol=1e-5)


def test_a_thin_plate_spline_is_sampled_on_the_grid_of_the_fixed_image(tmp_path):
    corners = BOX.corners()
    warp = ThinPlate(corners, corners + np.random.default_rng(0).normal(0, 1, corners.shape))
    with pytest.raises(UsageError, match=r"t\.h5: this map has no closed form"):
        write_transform(warp, tmp_path / "t.h5", direction="image")
    with pytest.warns(LossWarning, match="off by up to") as caught:
        write_transform(warp, tmp_path / "t.h5", direction="image", grid=BOX)
    stated = float(str(caught[0].message).split("off by up to ")[1].split()[0])
    inner = BOX.from_normalised(np.random.default_rng(1).uniform(-0.9, 0.9, (200, 3)))
    off = np.linalg.norm(warp(by_itk(tmp_path / "t.h5", inner)) - inner, axis=1).max()
    assert off < 1.5 * stated < 0.3
    back = read_transform(tmp_path / "t.h5", direction="image")
    central = BOX.from_normalised(np.random.default_rng(2).uniform(-0.6, 0.6, (50, 3)))
    np.testing.assert_allclose(back(central), warp(central), atol=2 * stated)


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
@pytest.mark.parametrize("grid", [BOX, BOX_2D])
def test_fields_as_images_of_vectors_round_trip(tmp_path, suffix, grid):
    field, path = smooth_field(grid), tmp_path / f"1Warp{suffix}"
    write_transform(field, path, direction="points")
    back = read_transform(path, direction="points")
    np.testing.assert_array_equal(back.field_mm, field.field_mm)
    np.testing.assert_allclose(back(near(grid)), field(near(grid)), atol=1e-5)


def test_a_nifti_field_on_an_oblique_grid_is_the_one_that_itk_sees(tmp_path, make_grid):
    grid = make_grid(2, 3)
    values = np.random.default_rng(0).normal(size=(*grid.shape, 3))
    image = sitk.GetImageFromArray(values, isVector=True)
    for name, value in (
        ("Spacing", grid.spacing),
        ("Origin", grid.origin),
        ("Direction", grid.direction),
    ):
        getattr(image, f"Set{name}")(value.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "1Warp.nii.gz"))
    warp = read_transform(tmp_path / "1Warp.nii.gz", direction="points")
    at_voxel = grid.to_world(np.array([[2, 1, 3]]))
    np.testing.assert_allclose(warp(at_voxel) - at_voxel, [values[3, 1, 2]], atol=1e-3)


@pytest.mark.parametrize("name", ["1Warp.nii.gz", "1Warp.NII.GZ", "1Warp.MHA"])
def test_a_field_is_read_from_its_own_file_whatever_lies_beside_it(tmp_path, name):
    write_transform(smooth_field(BOX, seed=1), tmp_path / "1Warp.nii", direction="points")
    field = smooth_field(BOX, seed=2)
    write_transform(field, tmp_path / name.lower(), direction="points")
    (tmp_path / name.lower()).rename(tmp_path / name)
    back = read_transform(tmp_path / name, direction="points")
    np.testing.assert_array_equal(back.field_mm, field.field_mm)


def test_a_file_of_ants_is_read(tmp_path):
    path = tmp_path / "0GenericAffine.mat"
    sitk.WriteTransform(
        sitk.AffineTransform((1, 2, 3, 0, 1, 4, 0, 0, 1), (1, 2, 3), (5, 6, 7)), str(path)
    )
    moved = read_transform(path, direction="points")(np.array([[1.0, 2, 3]]))
    np.testing.assert_allclose(moved, [[-18, -12, 6]])


# -- matrices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", MATRIX_SUFFIXES)
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("direction", ["points", "image"])
def test_matrices_in_both_frames_hold_the_same_map(tmp_path, suffix, dimension, direction):
    warp, points = affine(0, dimension), np.random.default_rng(0).normal(0, 50, (20, dimension))
    for frame in ("LPS", "RAS"):
        path = tmp_path / f"{frame}{suffix}"
        write_transform(warp, path, direction=direction, frame=frame)
        back = read_transform(path, direction=direction)
        np.testing.assert_allclose(back(points), warp(points), atol=1e-9)
        first = path.read_text().splitlines()[0]
        assert first == f"# anatomark transform; frame {frame}; direction {direction}; unit mm"
    assert (tmp_path / f"LPS{suffix}").read_text() != (tmp_path / f"RAS{suffix}").read_text()


def test_a_matrix_without_a_note_is_in_the_frame_that_the_caller_states(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("1 0 0 5\n0 1 0 6\n0 0 1 7\n0 0 0 1\n")
    origin = np.zeros((1, 3))
    np.testing.assert_array_equal(read_transform(path, direction="points")(origin), [[5, 6, 7]])
    ras = read_transform(path, direction="points", frame="RAS")
    np.testing.assert_array_equal(ras(origin), [[-5, -6, 7]])
    image = read_transform(path, direction="image", frame="RAS")
    np.testing.assert_array_equal(image(origin), [[5, 6, -7]])


def test_a_note_contradicts_a_caller_who_states_the_wrong_frame(tmp_path):
    write_transform(rigid(0, 3), tmp_path / "m.txt", direction="points", frame="RAS")
    with pytest.raises(UsageError, match="says its frame is 'RAS', the caller says 'LPS'"):
        read_transform(tmp_path / "m.txt", direction="points", frame="LPS")


def test_txt_holds_itk_text_as_well(tmp_path):
    (tmp_path / "t.txt").write_text(SLICER)
    moved = read_transform(tmp_path / "t.txt", direction="points")(np.array([[1.0, 2, 3]]))
    np.testing.assert_allclose(moved, [[12, 19, 33]])


def test_a_chain_of_affine_maps_fits_a_matrix_and_a_bent_map_does_not(tmp_path):
    chain = Chain((rigid(0, 3), affine(1, 3)))
    write_transform(chain, tmp_path / "m.txt", direction="points")
    back = read_transform(tmp_path / "m.txt", direction="points")
    np.testing.assert_allclose(back(near(BOX)), chain(near(BOX)), atol=1e-9)
    with pytest.raises(TransformError, match=r"m2\.txt: a matrix can only hold an affine map"):
        write_transform(smooth_field(BOX), tmp_path / "m2.txt", direction="points")
