"""Damaged ITK transform files: each is refused, and ITK says nothing of its own on stderr."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from anatomark.errors import TransformError
from anatomark.io.files import read_text
from anatomark.io.native import captured, itk_warnings
from anatomark.io.transforms.itk_files import (
    itk_text,
    read_itk_hdf5,
    read_itk_matlab,
    read_itk_text,
    write_itk_hdf5,
)

HEAD = "#Insight Transform File V1.0\n#Transform 0\n"
AFFINE = (
    "Transform: AffineTransform_double_3_3\n"
    "Parameters: 1 2 3 0 1 4 0 0 1 1 2 3\n"
    "FixedParameters: 5 6 7\n"
)
COMPOSITE = "Transform: CompositeTransform_double_3_3\n"


def read(text, folder, name="transform.tfm"):
    path = folder / name
    path.write_text(text)
    return read_itk_text(path, read_text(path, TransformError))


def test_a_whole_file_is_read(tmp_path):
    # By hand, for (1, 2, 3): p - c = (-4, -4, -4); matrix gives (-24, -20, -4); + c + t.
    moved = read(HEAD + AFFINE, tmp_path).TransformPoint((1.0, 2.0, 3.0))
    assert moved == (-24 + 5 + 1, -20 + 6 + 2, -4 + 7 + 3)


def test_windows_line_ends_capital_extensions_and_comments_are_read(tmp_path):
    text = HEAD + "# a remark\n" + AFFINE
    assert read(text.replace("\n", "\r\n"), tmp_path, "A.TFM").GetTranslation() == (1, 2, 3)


def test_euler_files_from_before_itk_stored_the_order_of_angles_are_read(tmp_path):
    text = HEAD + AFFINE.replace("Affine", "Euler3D").replace(
        "1 2 3 0 1 4 0 0 1 1 2 3", "0 0 0 1 2 3"
    )
    assert read(text, tmp_path).GetTranslation() == (1, 2, 3)


def test_single_precision_files_are_read(tmp_path):
    assert read(HEAD + AFFINE.replace("double", "float"), tmp_path).GetTranslation() == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("something else\n", "first line"),
        (AFFINE, "first line"),
        (HEAD, "no transform"),
        (HEAD + "Parameters: 1 2 3\n", "line 3"),
        (HEAD + AFFINE + "Nonsense: 1\n", "line 6"),
        (HEAD + AFFINE.split("Fixed", maxsplit=1)[0], "no FixedParameters: the file is cut off"),
        (HEAD + AFFINE.split("Param", maxsplit=1)[0], "no Parameters: the file is cut off"),
        (HEAD + AFFINE.replace(" 1 2 3\n", " 1 2\n"), "not a whole"),
        (HEAD + AFFINE.replace(" 1 2 3\n", " 1 2 3 4\n"), "needs 12 Parameters, the file has 13"),
        (HEAD + AFFINE.replace("5 6 7", "5 6"), "not a whole"),
        (HEAD + AFFINE.replace("5 6 7", "5 6 7 8"), "needs 3 FixedParameters, the file has 4"),
        (HEAD + AFFINE.replace("5 6 7", "5 6 seven"), "line 5 holds something not a number"),
        (HEAD + AFFINE.replace("5 6 7", "5 6 nan"), "line 5 holds a number that is not finite"),
        (HEAD + AFFINE.replace("5 6 7", "5 6 1e999"), "not finite"),
        (HEAD + AFFINE + "Parameters: 1 2 3 0 1 4 0 0 1 1 2 3\n", "second time"),
        (HEAD + AFFINE.replace("Affine", "Bogus"), r"BogusTransform_double_3_3 cannot be read"),
        (HEAD + AFFINE.replace("3_3", "4_4"), "not a whole"),
        (HEAD + AFFINE + "#Transform 1\n" + AFFINE, "several transforms side by side"),
        (HEAD + COMPOSITE, "empty"),
        (HEAD + COMPOSITE + COMPOSITE + AFFINE, "empty or nested"),
        (HEAD + COMPOSITE + AFFINE + AFFINE.replace("3_3", "2_2"), "mixes 2D and 3D"),
        (
            HEAD + AFFINE.replace("AffineTransform", "ThinPlateSplineKernelTransform"),
            "ThinPlateSplineKernelTransform_double_3_3 cannot be read; convert it to a",
        ),
        (
            HEAD + "Transform: ComposeScaleSkewVersor3DTransform_double_3_3\n"
            "Parameters: 0 0 0 1 2 3 1 1 1 0 0 0\nFixedParameters: 0 0 0\n",
            "not supported",
        ),
    ],
)
def test_a_damaged_text_file_is_refused(tmp_path, capfd, text, problem):
    with pytest.raises(TransformError, match=problem):
        read(text, tmp_path)
    assert capfd.readouterr().err == ""


def test_a_text_file_cut_anywhere_is_never_taken_for_another_transform(tmp_path):
    whole = HEAD + AFFINE
    for length in range(len(whole) - len(" 7\n")):
        with pytest.raises(TransformError):
            read(whole[:length], tmp_path)


def field_transform():
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 3))
    return sitk.DisplacementFieldTransform(sitk.GetImageFromArray(values, isVector=True))


@pytest.mark.parametrize("make", [lambda: sitk.AffineTransform(3), field_transform])
def test_an_hdf5_file_cut_anywhere_is_refused_in_silence(tmp_path, capfd, make):
    path = tmp_path / "transform.h5"
    write_itk_hdf5(make(), path)
    whole = path.read_bytes()
    for length in (10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(TransformError, match="not a whole transform file"):
            read_itk_hdf5(path)
    assert capfd.readouterr().err == ""


def test_an_unknown_type_in_an_hdf5_file_is_named(tmp_path):
    path = tmp_path / "transform.h5"
    write_itk_hdf5(sitk.AffineTransform(3), path)
    path.write_bytes(path.read_bytes().replace(b"AffineTransform_", b"TwirlyTransform_"[:16]))
    with pytest.raises(TransformError, match="TwirlyTransform_double_3_3 cannot be read"):
        read_itk_hdf5(path)


def matlab(folder):
    path = folder / "0GenericAffine.mat"
    sitk.WriteTransform(
        sitk.AffineTransform((1, 2, 3, 0, 1, 4, 0, 0, 1), (1, 2, 3), (5, 6, 7)), str(path)
    )
    return path


def test_an_affine_transform_as_ants_writes_it_is_read(tmp_path):
    assert read_itk_matlab(matlab(tmp_path)).TransformPoint((1.0, 2.0, 3.0)) == (-18, -12, 6)


def test_a_matlab_file_cut_anywhere_is_refused(tmp_path):
    path = matlab(tmp_path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(TransformError, match="not a whole ITK transform in MATLAB format"):
            read_itk_matlab(path)


def test_two_transforms_in_one_matlab_file_are_refused(tmp_path, capfd):
    path = matlab(tmp_path)
    path.write_bytes(path.read_bytes() * 2)
    with itk_warnings(shown=False), pytest.raises(TransformError, match="side by side"):
        read_itk_matlab(path)  # whoever turned the warnings off
    assert capfd.readouterr().err == ""


def test_a_text_matrix_named_mat_is_refused_with_a_word_on_flirt(tmp_path):
    path = tmp_path / "flirt.mat"
    path.write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(TransformError, match="FLIRT"):
        read_itk_matlab(path)


def spline():
    bent = sitk.BSplineTransform(2, 2)
    bent.SetTransformDomainMeshSize([2, 3])
    bent.SetParameters(np.random.default_rng(0).normal(size=bent.GetNumberOfParameters()).tolist())
    return bent


def composite():
    both = sitk.CompositeTransform(3)
    both.AddTransform(field_transform())
    both.AddTransform(sitk.AffineTransform((1, 2, 3, 0, 1, 4, 0, 0, 1), (0.1, 2, 3)))
    return both


@pytest.mark.parametrize(
    "make", [lambda: sitk.AffineTransform(2), field_transform, spline, composite]
)
def test_our_text_is_what_itk_reads_back_bit_for_bit(tmp_path, make):
    path = tmp_path / "transform.tfm"
    path.write_text(itk_text(make(), "# a note"))
    back = sitk.ReadTransform(str(path))
    assert (back.GetName(), back.GetDimension()) == (make().GetName(), make().GetDimension())
    assert back.GetParameters() == make().GetParameters()
    assert back.GetFixedParameters() == make().GetFixedParameters()


def test_what_a_library_says_on_stderr_is_kept_and_not_printed(capfd):
    import os

    with captured(2) as said:
        os.write(2, b"noise from C")
    os.write(2, b"later")
    assert said == ["noise from C"]
    assert capfd.readouterr().err == "later"
