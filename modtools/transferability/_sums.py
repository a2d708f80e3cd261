"""The additive state behind `Moments`: plain sums over examples, in shifted coordinates.

Every field is a sum over examples with weight w, shifted features x and shifted target t, so two
states with the same shifts merge by addition. See Chan, Golub & LeVeque, "Algorithms for computing
the sample variance", The American Statistician 1983, for the second moment; the terms of third and
fourth order follow by expanding the shifted norms.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix

__all__ = ["Sums"]


@dataclass(frozen=True)
class Sums:
    """Sums over features x (d,) and targets t (m,) of examples, both relative to fixed shifts.

    Attributes
    ----------
    n : float
        Sum of w.
    t : ndarray of shape (m,)
        Sum of w t.
    x : ndarray of shape (d,)
        Sum of w x.
    xx : ndarray of shape (d, d)
        Sum of w x x'.
    tx : ndarray of shape (m, d)
        Sum of w t x'.
    tt : ndarray of shape (m, m)
        Sum of w t t'.
    t_norm : ndarray of shape (m,)
        Sum of w t |x|^2.
    x_norm : ndarray of shape (d,)
        Sum of w x |x|^2.
    norm4 : float
        Sum of w |x|^4.
    tt_x : ndarray of shape (d,)
        Sum of w |t|^2 x.
    tt_norm : float
        Sum of w |t|^2 |x|^2.
    squares : ndarray of shape (m, d)
        Sum of w t x*x (elementwise).
    class_xx : ndarray of shape (m, d, d) or None
        Sum of w t x x' for each target; None unless requested.
    """

    n: float
    t: FloatMatrix
    x: FloatMatrix
    xx: FloatMatrix
    tx: FloatMatrix
    tt: FloatMatrix
    t_norm: FloatMatrix
    x_norm: FloatMatrix
    norm4: float
    tt_x: FloatMatrix
    tt_norm: float
    squares: FloatMatrix
    class_xx: FloatMatrix | None

    def __add__(self, other: "Sums") -> "Sums":
        def total(name: str) -> object:
            left, right = getattr(self, name), getattr(other, name)
            return None if left is None or right is None else left + right

        totals: dict[str, Any] = {field.name: total(field.name) for field in fields(self)}
        return Sums(**totals)

    @property
    def norm2(self) -> float:
        """Sum of w |x|^2."""
        return float(np.trace(self.xx))

    @property
    def within_squares(self) -> FloatMatrix:
        """Sum over each target of w (x - its mean)^2, elementwise, (m, d); for classes."""
        counts = np.where(self.t > 0, self.t, 1)[:, None]
        return np.maximum(self.squares - np.square(self.tx) / counts, 0)

    def within_growth(self) -> float:
        """Return the largest ratio of `squares` to `within_squares`."""
        within = self.within_squares
        with np.errstate(divide="ignore"):
            ratio = np.divide(
                self.squares, within, out=np.zeros_like(within), where=self.squares > 0
            )
        return float(ratio.max())

    def about(self, a: FloatMatrix, b: FloatMatrix) -> "Sums":
        """Return the sums of (x - a, t - b); a and b are relative to the present shifts."""
        return self._shift_rows(a)._shift_targets(b)

    def norms_about(self, a: FloatMatrix) -> tuple[float, float]:
        """Return the sums of w |x - a|^2 and of w |x - a|^4 without shifting the matrices."""
        a2, ax = float(a @ a), float(a @ self.x)
        norm2 = self.norm2 - 2 * ax + self.n * a2
        norm4 = (
            self.norm4
            + 4 * float(a @ self.xx @ a)
            + self.n * a2 * a2
            - 4 * float(a @ self.x_norm)
            + 2 * a2 * self.norm2
            - 4 * a2 * ax
        )
        return norm2, norm4

    def cross_norm_about(self, a: FloatMatrix, b: FloatMatrix) -> float:
        """Return the sum of w |x - a|^2 |t - b|^2."""
        a2, b2, trace = float(a @ a), float(b @ b), float(np.trace(self.tt))
        rows = self.tt_norm - 2 * float(a @ self.tt_x) + a2 * trace  # sum |t|^2 |x - a|^2
        targets = self.t_norm - 2 * self.tx @ a + a2 * self.t  # sum t |x - a|^2
        norm2, _ = self.norms_about(a)
        return rows - 2 * float(b @ targets) + b2 * norm2

    def place(self, positions: NDArray[np.intp], n_targets: int) -> "Sums":
        """Return the same sums with the targets moved to `positions` among `n_targets`."""

        def spread(array: FloatMatrix) -> FloatMatrix:
            out = np.zeros((n_targets, *array.shape[1:]))
            out[positions] = array
            return out

        tt = np.zeros((n_targets, n_targets))
        tt[np.ix_(positions, positions)] = self.tt
        return replace(
            self,
            t=spread(self.t),
            tx=spread(self.tx),
            tt=tt,
            t_norm=spread(self.t_norm),
            squares=spread(self.squares),
            class_xx=None if self.class_xx is None else spread(self.class_xx),
        )

    def _shift_rows(self, a: FloatMatrix) -> "Sums":
        if not a.any():
            return self
        a2, trace = float(a @ a), float(np.trace(self.tt))
        norm2, norm4 = self.norms_about(a)
        class_xx = self.class_xx
        if class_xx is not None:
            cross = self.tx[:, :, None] * a
            class_xx = class_xx - cross - cross.transpose(0, 2, 1)
            class_xx += self.t[:, None, None] * np.outer(a, a)
        return replace(
            self,
            x=self.x - self.n * a,
            xx=self.xx - np.outer(self.x, a) - np.outer(a, self.x) + self.n * np.outer(a, a),
            tx=self.tx - np.outer(self.t, a),
            t_norm=self.t_norm - 2 * self.tx @ a + a2 * self.t,
            x_norm=self.x_norm - 2 * self.xx @ a + a2 * self.x - a * norm2,
            norm4=norm4,
            tt_x=self.tt_x - a * trace,
            tt_norm=self.tt_norm - 2 * float(a @ self.tt_x) + a2 * trace,
            squares=self.squares - 2 * a * self.tx + self.t[:, None] * (a * a),
            class_xx=class_xx,
        )

    def _shift_targets(self, b: FloatMatrix) -> "Sums":
        if not b.any():
            return self
        b2 = float(b @ b)
        return replace(
            self,
            t=self.t - self.n * b,
            tx=self.tx - np.outer(b, self.x),
            tt=self.tt - np.outer(self.t, b) - np.outer(b, self.t) + self.n * np.outer(b, b),
            t_norm=self.t_norm - b * self.norm2,
            tt_x=self.tt_x - 2 * b @ self.tx + b2 * self.x,
            tt_norm=self.tt_norm - 2 * float(b @ self.t_norm) + b2 * self.norm2,
            # Not additive in t; used for classes only, whose targets are never shifted.
            squares=self.squares,
        )
