"""The built-in scores, entered into the registry in the order in which tables show them."""

from modtools.tasks import Kind
from modtools.transferability._alignment import (
    alignment_from_summary,
    centered_alignment_from_summary,
    lfc_from_summary,
    nmse_from_summary,
    raw_from_summary,
    upper_triangle_alignment_from_summary,
)
from modtools.transferability._codelength import codelength_of_rows
from modtools.transferability._dependence import hsic_from_summary, nhsic_from_summary
from modtools.transferability._gbc import gbc_from_summary
from modtools.transferability._half_split import half_split_of_rows
from modtools.transferability._hscore import hscore_from_summary, regularized_hscore_from_summary
from modtools.transferability._inputs import ANY_KIND
from modtools.transferability._leave_one_out import (
    class_mean_of_rows,
    lda_of_rows,
    ridge_of_rows,
)
from modtools.transferability._linear_probe import linear_probe_of_rows
from modtools.transferability._logistic import logistic_of_rows
from modtools.transferability._logme import logme_from_summary
from modtools.transferability._neighbours import knn_of_rows
from modtools.transferability._parc import parc_of_rows
from modtools.transferability._registry import SCORES, Score
from modtools.transferability._sfda import sfda_of_rows
from modtools.transferability._source import leep_of_probabilities, nce_of_probabilities
from modtools.transferability._transrate import transrate_from_summary

__all__ = ["register_builtin_scores"]

_LABELS: tuple[Kind, ...] = ("classification", "multilabel")
_REAL: tuple[Kind, ...] = ("classification", "regression")
_RELU = "relu_normalised"
_KERNELS = "Duan, Yu & Principe, arXiv 2005.05541"

_BUILTIN = (
    Score(
        "nce",
        "source_probabilities",
        nce_of_probabilities,
        "[-H(Y), 0] nats",
        "Tran et al., ICCV 2019",
    ),
    Score(
        "leep",
        "source_probabilities",
        leep_of_probabilities,
        "[-H(Y), 0] nats",
        "Nguyen et al., ICML 2020",
        passes=2,
    ),
    Score("hscore", "moments", hscore_from_summary, "[0, C-1]", "Bao et al., ICIP 2019"),
    Score(
        "regularized_hscore",
        "moments",
        regularized_hscore_from_summary,
        "[0, C-1]",
        "Ibrahim et al., arXiv 2110.06893",
    ),
    Score(
        "logme",
        "moments",
        logme_from_summary,
        "unbounded, nats a row and column",
        "You et al., ICML 2021",
        kinds=ANY_KIND,
    ),
    Score(
        "transrate",
        "moments",
        transrate_from_summary,
        "[0, R(F)] nats",
        "Huang et al., ICML 2022",
        passes=2,
    ),
    Score("gbc", "moments", gbc_from_summary, "[-C(C-1), 0]", "Pandy et al., CVPR 2022"),
    Score("sfda", "features", sfda_of_rows, "(0, 1]", "Shao et al., ECCV 2022", passes=5),
    Score("lfc", "moments", lfc_from_summary, "[-1, 1]", "Deshpande et al., arXiv 2102.00084"),
    Score(
        "parc",
        "features",
        parc_of_rows,
        "[-100, 100]; without ties at most 100 sqrt(3 p q)",
        "Bolya et al., NeurIPS 2021",
        kinds=_LABELS,
        passes="all pairs",
    ),
    Score(
        "alignment",
        "moments",
        alignment_from_summary,
        "[0, 1]",
        _KERNELS,
        kinds=_LABELS,
        feature_map=_RELU,
    ),
    Score(
        "upper_triangle_alignment",
        "moments",
        upper_triangle_alignment_from_summary,
        "[0, 1]",
        _KERNELS,
        feature_map=_RELU,
    ),
    Score(
        "centered_alignment",
        "moments",
        centered_alignment_from_summary,
        "[0, 1]",
        "Cortes et al., JMLR 2012",
        kinds=ANY_KIND,
    ),
    Score("nmse", "moments", nmse_from_summary, "[-1, 0]", _KERNELS, feature_map=_RELU),
    Score("raw", "moments", raw_from_summary, "[-1, 1]", _KERNELS, feature_map=_RELU),
    Score(
        "hsic",
        "moments",
        hsic_from_summary,
        "unbounded, squared units",
        "Song et al., ICML 2007",
        kinds=ANY_KIND,
    ),
    Score(
        "nhsic",
        "moments",
        nhsic_from_summary,
        "[0, C-1]; [0, m] for m target columns",
        "Fukumizu et al., NIPS 2007",
        kinds=ANY_KIND,
    ),
    Score(
        "knn",
        "features",
        knn_of_rows,
        "[0, 1], leave-one-out accuracy; R2 <= 1 for regression",
        "Cover & Hart, IEEE TIT 1967",
        kinds=_REAL,
        passes="all pairs",
        knows_groups=True,
    ),
    Score(
        "class_mean",
        "features",
        class_mean_of_rows,
        "[0, 1], leave-one-out accuracy",
        "exact leave-one-out, closed form",
        passes=2,
        knows_groups=True,
    ),
    Score(
        "lda",
        "features",
        lda_of_rows,
        "[0, 1], leave-one-out accuracy",
        "Lachenbruch & Mickey, Technometrics 1968",
        passes=2,
    ),
    Score(
        "ridge",
        "features",
        ridge_of_rows,
        "[0, 1], leave-one-out accuracy; R2 <= 1 for regression",
        "Allen, Technometrics 1974 (PRESS)",
        kinds=_REAL,
        passes=2,
        knows_groups=True,
    ),
    Score(
        "logistic",
        "features",
        logistic_of_rows,
        "[0, 1], held-out accuracy",
        "5 cold folds at one strength",
        passes="iterative",
        knows_groups=True,
    ),
    Score(
        "linear_probe",
        "features",
        linear_probe_of_rows,
        "[0, 1], held-out accuracy",
        "5-fold, strength chosen inside",
        passes="iterative",
        knows_groups=True,
    ),
    Score(
        "half_split",
        "features",
        half_split_of_rows,
        "(-inf, 0], nats a label",
        "held-out log loss of ridge machines on stratified halves",
        passes="4 to 30 splits",
        knows_groups=True,
    ),
    Score(
        "codelength",
        "features",
        codelength_of_rows,
        "(-inf, 0], bits a label",
        "Blier & Ollivier, NeurIPS 2018",
        passes="5 orders",
    ),
)


def register_builtin_scores() -> None:
    """Enter the built-in scores into `SCORES`."""
    for score in _BUILTIN:
        SCORES.register(score)
