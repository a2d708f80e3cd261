"""Row-wise scores by their textbook definitions: refit, sort, correlate; slow and plain."""

import numpy as np
from scipy import stats


def standardized(features):
    features = np.asarray(features, dtype=float)
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def one_hot(labels):
    return (np.asarray(labels)[:, None] == np.unique(labels)).astype(float)


def without(i, *arrays):
    return [np.delete(array, i, axis=0) for array in arrays]


def ridge_decision(row, features, targets, alpha):
    centred = features - features.mean(axis=0)
    scatter = centred.T @ centred + alpha * np.eye(features.shape[1])
    weights = np.linalg.solve(scatter, centred.T @ (targets - targets.mean(axis=0)))
    return targets.mean(axis=0) + (row - features.mean(axis=0)) @ weights


def ridge_left_out(features, targets, alpha):
    return np.array(
        [
            ridge_decision(row, *without(i, features, targets), alpha)
            for i, row in enumerate(features)
        ]
    )


def within_scatter(features, labels):
    centred = features.copy()
    for label in np.unique(labels):
        centred[labels == label] -= features[labels == label].mean(axis=0)
    return centred.T @ centred


def lda(features, labels, alpha):
    """Refit means, scatter and priors without each row; count right ones."""
    right = 0
    for i, row in enumerate(features):
        others, own = without(i, features, labels)
        scatter = within_scatter(others, own) + alpha * np.eye(features.shape[1])
        scores = []
        for label in np.unique(own):
            away = row - others[own == label].mean(axis=0)
            distance = len(own) * away @ np.linalg.solve(scatter, away)
            scores.append(-distance / 2 + np.log(np.mean(own == label)))
        right += np.unique(own)[np.argmax(scores)] == labels[i]
    return right / len(labels)


def class_mean(features, labels, groups=None):
    groups = np.arange(len(labels)) if groups is None else groups
    right = 0
    for row, label, group in zip(features, labels, groups, strict=True):
        others, own = features[groups != group], labels[groups != group]
        names = np.unique(own)
        means = [others[own == name].mean(axis=0) for name in names]
        right += names[np.argmin([np.square(row - mean).sum() for mean in means])] == label
    return right / len(labels)


def distances(features, metric="euclidean"):
    if metric == "cosine":
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        return 1 - unit @ unit.T
    return np.sqrt(np.square(features[:, None] - features[None]).sum(axis=2))


def neighbours(features, k, metric="euclidean", groups=None):
    """The k nearest other rows by a full matrix and a stable sort."""
    matrix = distances(features, metric)
    groups = np.arange(len(features)) if groups is None else groups
    matrix[groups[:, None] == groups] = np.inf
    return np.argsort(matrix, axis=1, kind="stable")[:, :k]


def parc(features, labels):
    """Spearman correlation of all pairs, label distances exact for classes."""
    labels = np.asarray(labels)
    upper = np.triu_indices(len(labels), 1)
    by_features = 1 - np.corrcoef(standardized(features))
    if labels.ndim == 1:
        by_labels = labels[:, None] != labels
    else:
        by_labels = np.round(1 - np.corrcoef(labels), 9)
    return 100 * stats.spearmanr(by_features[upper].round(12), by_labels[upper]).statistic
