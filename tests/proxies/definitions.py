"""Proxy objectives by their definitions, pair by pair: slow, plain, written apart from the code."""

import itertools
import math

import numpy as np

from modtools.transferability import FEATURE_MAPS

KERNEL_PROXIES = (
    "raw",
    "nmse",
    "alignment",
    "upper_triangle_alignment",
    "contrastive",
    "log_contrastive",
)
WITH_PAIRS = (*KERNEL_PROXIES, "supcon")


def all_pairs(labels):
    """Return {(i, j): same} of every ordered pair of different rows."""
    numbers = itertools.permutations(range(len(labels)), 2)
    return {(i, j): bool(labels[i] == labels[j]) for i, j in numbers}


def kernel_loss(name, features, pairs, *, feature_map, negatives_only=False, temperature=1.0):
    """Return the loss from {(i, j): same}, both orders of each known pair listed."""
    phi = FEATURE_MAPS[feature_map](np.asarray(features, dtype=float))
    low, high = FEATURE_MAPS[feature_map].k_min, FEATURE_MAPS[feature_map].k_max
    n = len(phi)
    entries = [
        (float(phi[i] @ phi[j]), high if same else low, same)
        for (i, j), same in pairs.items()
        if not (negatives_only and same)
    ]
    if name in ("nmse", "alignment") and not negatives_only:
        entries += [(float(phi[i] @ phi[i]), high, True) for i in range(n)]
    if name == "raw":
        return -np.mean([k if same else -k for k, _, same in entries])
    if name == "nmse":
        return np.mean([(k - ideal) ** 2 for k, ideal, _ in entries])
    if name in ("alignment", "upper_triangle_alignment"):
        kernel, ideal, _ = np.array(entries, dtype=float).T
        return -kernel @ ideal / np.linalg.norm(kernel) / np.linalg.norm(ideal)
    exponentials = [math.exp(k / temperature) for k, _, _ in entries]
    if negatives_only:
        mean = np.mean(exponentials)
        return mean if name == "contrastive" else math.log(mean)
    share = sum(e for e, (_, _, same) in zip(exponentials, entries, strict=True) if same)
    share /= sum(exponentials)
    return -share if name == "contrastive" else -math.log(share)


def supcon(features, pairs, *, feature_map="unit", temperature=0.1):
    """Return the mean over anchors of the mean over partners of -log share."""
    phi = FEATURE_MAPS[feature_map](np.asarray(features, dtype=float))
    losses = []
    for anchor in range(len(phi)):
        others = {j: same for (i, j), same in pairs.items() if i == anchor}
        weights = {j: math.exp(phi[anchor] @ phi[j] / temperature) for j in others}
        total = sum(weights.values())
        partners = [-math.log(weights[j] / total) for j, same in others.items() if same]
        if partners:
            losses.append(np.mean(partners))
    return np.mean(losses)


def nhsic(left, right, *, sigma=5.0, eps=1e-5):
    """Return tr(K L) of two inputs, kernels normalised by an explicit inverse."""
    normalised = []
    for rows in (left, right):
        n, d = rows.shape
        squares = ((rows[:, None] - rows) ** 2).sum(axis=2)
        centring = np.eye(n) - 1 / n
        centred = centring @ np.exp(-squares / (2 * sigma**2 * d)) @ centring
        normalised.append(centred @ np.linalg.inv(centred + eps * n * np.eye(n)))
    return np.trace(normalised[0] @ normalised[1])


def similarities(rows):
    """Return cosines between rows that are each centred over their columns."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return unit @ unit.T
