"""Losses: pure functions, one value per landmark ``(B, L)``; masking and reducing is ``pooled``.

Points are normalised ``(B, L, D)`` in x, y(, z) order; ``extent_mm`` ``(B, D)`` turns differences
into millimetres along the axes of the image. A target of an absent landmark may be anything
finite: its row is computed, and masked by ``pooled``. Targets that are Gaussians are never built:
a Gaussian on a grid is a product of three profiles, and what is needed of it are sums.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pooled(losses: Tensor, present: Tensor) -> Tensor:
    """Mean over the present landmarks of a batch; 0, with a gradient of 0, where none is."""
    kept = torch.where(present, losses, losses.new_zeros(()))
    return kept.sum() / present.sum().clamp_min(1)


# -- coordinates ---------------------------------------------------------------------------------


def difference_mm(points: Tensor, target: Tensor, extent_mm: Tensor) -> Tensor:
    """``points - target`` in millimetres along x, y(, z), ``(B, L, D)``."""
    return (points - target) * (extent_mm[:, None, :] / 2)


def l1_mm(points: Tensor, target: Tensor, extent_mm: Tensor) -> Tensor:
    """Sum of the absolute coordinate differences (first term of Fang 2023, eq. 2)."""
    return difference_mm(points, target, extent_mm).abs().sum(-1)


def l2_mm(points: Tensor, target: Tensor, extent_mm: Tensor) -> Tensor:
    """Euclidean distance (second term of Fang 2023, eq. 2); its slope at 0 is taken as 0."""
    distance: Tensor = torch.linalg.vector_norm(difference_mm(points, target, extent_mm), dim=-1)
    return distance


def variance_mm2(covariance_mm2: Tensor) -> Tensor:
    """Total variance of each probability map about its own mean (Fang 2023, eq. 4)."""
    return covariance_mm2.diagonal(dim1=-2, dim2=-1).sum(-1)


# -- heatmaps ------------------------------------------------------------------------------------


def gaussian_profiles(
    target: Tensor, extent_mm: Tensor, shape: tuple[int, ...], sigma_mm: float
) -> list[Tensor]:
    """One profile ``(B, L, n)`` per axis in x, y(, z) order; their product is the Gaussian.

    Each is 1 at the target; sampled at voxel centres of maps of ``shape`` (z, y, x).
    """
    return [e.exp() for e in _exponents(target, extent_mm, shape, sigma_mm)]


def gaussian_shares(
    target: Tensor, extent_mm: Tensor, shape: tuple[int, ...], sigma_mm: float
) -> list[Tensor]:
    """The same, each with sum 1: their product is the Gaussian as probabilities of the voxels.

    One much narrower than a voxel is all on the nearest.
    """
    return [torch.softmax(e, -1) for e in _exponents(target, extent_mm, shape, sigma_mm)]


def _exponents(
    target: Tensor, extent_mm: Tensor, shape: tuple[int, ...], sigma_mm: float
) -> list[Tensor]:
    found = []
    for d, n in enumerate(reversed(shape)):
        centres = (2 * torch.arange(n, device=target.device, dtype=target.dtype) + 1) / n - 1
        apart = (centres - target[..., d, None]) * (extent_mm[:, None, d, None] / 2)
        found.append(-0.5 * (apart / sigma_mm) ** 2)
    return found


def against_profiles(maps: Tensor, profiles: list[Tensor]) -> Tensor:
    """Sum over the voxels ``(B, L)`` of maps times the product of the profiles."""
    rest = maps.float() if maps.element_size() < 4 else maps
    with torch.autocast(maps.device.type, enabled=False):  # half precision would lose the sums
        for profile in profiles:  # x first: the last axis of what is left
            column = profile.to(rest.dtype)[..., None]
            ahead = rest.shape[2:-1]
            rest = torch.matmul(rest.flatten(2, -2) if ahead else rest[:, :, None], column)
            rest = rest.reshape(*maps.shape[:2], *ahead)
    return rest


def gaussian_l2(heatmaps: Tensor, profiles: list[Tensor]) -> Tensor:
    """Sum over the voxels of (heatmap − Gaussian)² (heatmap matching, Payer 2016)."""
    own = heatmaps.float() if heatmaps.element_size() < 4 else heatmaps
    square = torch.linalg.vector_norm(own.flatten(2), dim=-1) ** 2
    target = torch.stack([p.square().sum(-1) for p in profiles]).prod(0)
    distance: Tensor = square - 2 * against_profiles(own, profiles) + target
    return distance


def gaussian_cross_entropy(logits: Tensor, shares: list[Tensor]) -> Tensor:
    """Kullback–Leibler divergence of softmax(logits) from the Gaussian, as ``gaussian_shares``.

    It is the softmax cross-entropy less the entropy of the target: 0 where both are equal.
    """
    own = logits.float() if logits.element_size() < 4 else logits
    entropy = -torch.stack([torch.special.xlogy(s, s).sum(-1) for s in shares]).sum(0)
    return torch.logsumexp(own.flatten(2), dim=-1) - against_profiles(own, shares) - entropy


def gaussian_binary_cross_entropy(logits: Tensor, profiles: list[Tensor]) -> Tensor:
    """Sum over the voxels of the binary cross-entropy of sigmoid(logits) against the Gaussian."""
    own = logits.float() if logits.element_size() < 4 else logits
    return functional.softplus(own).flatten(2).sum(-1) - against_profiles(own, profiles)


# -- pairs of points (Grewal 2020) ---------------------------------------------------------------


def saliency(logits: Tensor, matched: Tensor) -> Tensor:
    """Eq. 2, one value an image: the mean over its ``K`` places of two terms.

    ``logits`` ``(B, K)`` of the landmark probability at the places; ``matched`` ``(B, K)``,
    whether a place has a counterpart in the other image.
    """
    entropy = functional.binary_cross_entropy_with_logits(
        logits, matched.to(logits), reduction="none"
    )
    return (1 - logits.sigmoid() + entropy).mean(1)


def descriptor_hinge(
    distance: Tensor, matched: Tensor, *, positive_margin: float, negative_margin: float
) -> Tensor:
    """The first two terms of eq. 3, one value a pair of images.

    ``distance`` ``(B, K1, K2)`` of descriptors; ``matched`` of the same shape, whether they are of
    one place. Each kind is divided by its number.
    """
    pull = torch.where(matched, (distance - positive_margin).clamp_min(0), distance.new_zeros(()))
    push = torch.where(matched, distance.new_zeros(()), (negative_margin - distance).clamp_min(0))
    positive = matched.sum((1, 2)).clamp_min(1)
    negative = (~matched).sum((1, 2)).clamp_min(1)
    return pull.sum((1, 2)) / positive + push.sum((1, 2)) / negative


def matching_entropy(logits: Tensor, matched: Tensor) -> Tensor:
    """The last term of eq. 3, one value a pair of images: each kind weighs as the other is often.

    ``logits`` ``(B, K1, K2)`` of matching, ``matched`` of the same shape.
    """
    entropy = functional.binary_cross_entropy_with_logits(
        logits, matched.to(logits), reduction="none"
    )
    count = matched[0].numel()
    often = matched.sum((1, 2), keepdim=True) / max(count, 1)
    return (entropy * torch.where(matched, 1 - often, often)).sum((1, 2)) / max(count, 1)


def contrast(logits: Tensor, matched: Tensor) -> Tensor:
    """How well each landmark's partners stand out among all, one value a pair of images.

    ``logits`` and ``matched`` ``(B, K1, K2)``. Cross entropy of a softmax over the landmarks of the
    other image, both ways, of those landmarks that have a partner. Grewal 2020 has no such term:
    its hinge is a mean over all pairs, of which the few that are nearly right are a small part.
    """
    rows = _stands_out(logits, matched)
    columns = _stands_out(logits.transpose(1, 2), matched.transpose(1, 2))
    return (rows + columns) / 2


def _stands_out(logits: Tensor, matched: Tensor) -> Tensor:
    known = matched.any(2)
    lowest = torch.finfo(logits.dtype).min / 2
    partners = torch.where(matched, logits, logits.new_full((), lowest)).logsumexp(2)
    missing = logits.logsumexp(2) - partners
    kept = torch.where(known, missing, missing.new_zeros(()))
    return kept.sum(1) / known.sum(1).clamp_min(1)
