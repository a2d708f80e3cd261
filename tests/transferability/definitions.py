"""Scores by their textbook definitions, row by row: slow, plain, written apart from the code."""

import numpy as np
from scipy import linalg, optimize, stats


def golden():
    """The example whose values are known: n=14, d=3, three classes, four source classes."""
    i, j, k = np.arange(14)[:, None], np.arange(3), np.arange(4)
    labels = np.arange(14) % 3
    features = np.sin(1.7 * i + 0.9 * j) + (labels[:, None] == j)
    logits = np.exp(2 * np.cos(0.8 * i + 1.3 * k))
    return features, labels, logits / logits.sum(axis=1, keepdims=True)


def one_hot(labels):
    return (np.asarray(labels)[:, None] == np.unique(labels)).astype(float)


def as_targets(labels):
    labels = np.asarray(labels)
    if labels.ndim == 2 or labels.dtype.kind == "f":
        return labels.reshape(len(labels), -1).astype(float)
    return one_hot(labels)


def hscore(features, labels):
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    total, between = np.cov(features, rowvar=False), np.cov(means, rowvar=False)
    total, between = np.atleast_2d(total), np.atleast_2d(between)
    return np.trace(linalg.pinvh(total) @ between)


def regularized_hscore(features, labels):
    from sklearn.covariance import LedoitWolf

    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    shrunk = LedoitWolf().fit(features)
    between = np.cov(means, rowvar=False, bias=True)
    return (1 - shrunk.shrinkage_) * np.trace(np.linalg.solve(shrunk.covariance_, between))


def logme(features, labels):
    """Maximise the exact Gaussian log likelihood of each column over both precisions."""

    def evidence(target):
        n = len(target)

        def loss(log_precisions):
            alpha, beta = np.exp(np.clip(log_precisions, -50, 50))
            covariance = np.eye(n) / beta + features @ features.T / alpha
            log_det = np.linalg.slogdet(covariance)[1]
            quadratic = target @ np.linalg.solve(covariance, target)
            return 0.5 * (log_det + quadratic + n * np.log(2 * np.pi)) / n

        starts = [(0.0, 0.0), (2.0, 2.0), (-2.0, 2.0), (4.0, 0.0), (0.0, 4.0)]
        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
        return -min(
            optimize.minimize(loss, start, method="Nelder-Mead", options=options).fun
            for start in starts
        )

    return np.mean([evidence(target) for target in as_targets(labels).T])


def coding_rate(rows, eps):
    n, d = rows.shape
    return 0.5 * np.linalg.slogdet(np.eye(d) + rows.T @ rows / (n * eps))[1]


def transrate(features, labels, eps=1e-4):
    centred = features - features.mean(axis=0)
    within = sum(
        np.mean(labels == c) * coding_rate(centred[labels == c], eps) for c in np.unique(labels)
    )
    return coding_rate(centred, eps) - within


def gbc(features, labels):
    total = 0.0
    for a in np.unique(labels):
        for b in np.unique(labels):
            if a == b:
                continue
            rows_a, rows_b = features[labels == a], features[labels == b]
            var_a, var_b = (
                np.maximum(rows_a.var(axis=0), 1e-4),
                np.maximum(rows_b.var(axis=0), 1e-4),
            )
            middle = (var_a + var_b) / 2
            gap = rows_a.mean(axis=0) - rows_b.mean(axis=0)
            distance = gap @ np.diag(1 / middle) @ gap / 8
            distance += 0.5 * np.log(np.prod(middle) / np.sqrt(np.prod(var_a) * np.prod(var_b)))
            total -= np.exp(-distance)
    return total


def sfda(features, labels):
    def softmax(z):
        z = np.exp(z - z.max())
        return z / z.sum()

    names = np.unique(labels)

    def fit(rows, shrinkage):
        means = np.stack([rows[labels == c].mean(axis=0) for c in names])
        centred = rows - means[np.searchsorted(names, labels)]
        within = centred.T @ centred / len(rows)
        if shrinkage is None:
            shrinkage = max(np.exp(-5 * np.linalg.norm(within, 2)), 1e-6)
        level = np.trace(within) / len(within)
        within = (1 - shrinkage) * within + shrinkage * level * np.eye(len(within))
        prior = np.log([np.mean(labels == c) for c in names])
        inverse = np.linalg.inv(within)

        def logits(x):
            return np.array(
                [
                    m @ inverse @ x - 0.5 * m @ inverse @ m + p
                    for m, p in zip(means, prior, strict=True)
                ]
            )

        return logits, shrinkage, means

    logits, shrinkage, means = fit(features, None)
    mixed = np.empty_like(features)
    for i, row in enumerate(features):
        own = np.searchsorted(names, labels[i])
        sure = softmax(softmax(logits(row)))[own]
        others = np.delete(means, own, axis=0).mean(axis=0)
        mixed[i] = sure * row + (1 - sure) * others
    logits, _, _ = fit(mixed, shrinkage)
    chosen = [
        softmax(logits(row))[np.searchsorted(names, y)]
        for row, y in zip(mixed, labels, strict=True)
    ]
    return np.mean(chosen)


def ideal_kernel(labels, low=0.0, high=1.0):
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return labels @ labels.T
    return np.where(labels[:, None] == labels[None, :], high, low)


def relu_rows(features):
    rows = np.maximum(features, 0)
    return np.stack([row / np.linalg.norm(row) if row.any() else row for row in rows])


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def alignment(features, labels):
    rows = relu_rows(features)
    return cosine(rows @ rows.T, ideal_kernel(labels))


def upper_triangle_alignment(features, labels):
    rows, upper = relu_rows(features), np.triu_indices(len(features), 1)
    return cosine((rows @ rows.T)[upper], ideal_kernel(labels)[upper])


def nmse(features, labels):
    rows = relu_rows(features)
    return -np.mean((rows @ rows.T - ideal_kernel(labels)) ** 2)


def raw(features, labels):
    rows, upper = relu_rows(features), np.triu_indices(len(features), 1)
    return np.mean((rows @ rows.T)[upper] * ideal_kernel(labels, -1, 1)[upper])


def centre(kernel):
    return kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()


def target_kernel(labels):
    targets = as_targets(labels)
    return targets @ targets.T


def centered_alignment(features, labels):
    return cosine(centre(features @ features.T), centre(target_kernel(labels)))


def lfc(features, labels):
    kernel, ideal = (features @ features.T).ravel(), ideal_kernel(labels, -1, 1).ravel()
    return stats.pearsonr(kernel, ideal).statistic


def hsic(features, labels):
    """Unbiased HSIC as an average over ordered quadruples, by its matrix form (Song et al.)."""
    n = len(features)
    k, t = features @ features.T, target_kernel(labels)
    k, t = k - np.diag(np.diag(k)), t - np.diag(np.diag(t))
    ones = np.ones(n)
    total = np.trace(k @ t) + (ones @ k @ ones) * (ones @ t @ ones) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * (ones @ k @ t @ ones)) / (n * (n - 3))


def nhsic(features, labels):
    n, eps = len(features), 1e-5
    parts = []
    for kernel in (features @ features.T, target_kernel(labels)):
        centred = centre(kernel)
        parts.append(centred @ np.linalg.inv(centred + eps * n * np.eye(n)))
    return np.trace(parts[0] @ parts[1])


def nce(probabilities, labels):
    labels, guess = np.asarray(labels), probabilities.argmax(axis=1)
    total = 0.0
    for y, z in zip(labels, guess, strict=True):
        total += np.log(np.mean(labels[guess == z] == y))
    return total / len(labels)


def leep(probabilities, labels):
    labels = np.asarray(labels)
    total = 0.0
    for y, row in zip(labels, probabilities, strict=True):
        seen = np.flatnonzero(probabilities.sum(axis=0))
        given = np.zeros(len(row))
        for z in seen:
            given[z] = probabilities[labels == y, z].sum() / probabilities[:, z].sum()
        total += np.log(np.dot(given, row))
    return total / len(labels)
