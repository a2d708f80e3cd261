"""Output modules: linear heads on frozen features, each with its leave-one-out."""

from modtools.outputs._class_mean import (
    ClassMeanOutput,
    class_sums as class_sums,
    left_out_decisions as left_out_decisions,
)
from modtools.outputs._clusters import kmeans as kmeans
from modtools.outputs._columns import (
    ROUNDING_UNITS as ROUNDING_UNITS,
    Grain as Grain,
    column_moments as column_moments,
    grain_of as grain_of,
    middle_of as middle_of,
    sample_rows as sample_rows,
)
from modtools.outputs._folds import (
    RowContent as RowContent,
    row_content as row_content,
    stratified_folds as stratified_folds,
)
from modtools.outputs._logistic import LogisticOutput
from modtools.outputs._logistic_folds import N_FOLDS as N_FOLDS, cold_fold_codes as cold_fold_codes
from modtools.outputs._ridge import (
    RidgeBasis as RidgeBasis,
    RidgeLeaveOneOut as RidgeLeaveOneOut,
    alpha_of_evidence as alpha_of_evidence,
    one_hot as one_hot,
    ridge_basis as ridge_basis,
    ridge_leave_one_out as ridge_leave_one_out,
    ridge_solution as ridge_solution,
)
from modtools.outputs._ridge_curve import (
    PrequentialCoder as PrequentialCoder,
    evaluate_ridge_path as evaluate_ridge_path,
)
from modtools.outputs._ridge_held_out import (
    HeldOutJudge as HeldOutJudge,
    KernelInverse as KernelInverse,
    refitted_decisions as refitted_decisions,
)
from modtools.outputs._ridge_output import RidgeOutput, RidgeRegressionOutput
from modtools.outputs._ridge_path import (
    KernelPath as KernelPath,
    RidgeChain as RidgeChain,
    log_spaced_counts as log_spaced_counts,
)
from modtools.outputs._standardize import (
    StandardizedRows as StandardizedRows,
    standardize as standardize,
)

__all__ = ["ClassMeanOutput", "LogisticOutput", "RidgeOutput", "RidgeRegressionOutput"]
