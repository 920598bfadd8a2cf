"""Areas under users' ROC curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..validation.errors import at
from ..validation.lists import read_indptr, user_of
from ..validation.options import read_int
from ..validation.scores import COUNTS, read_counts


@dataclass(frozen=True, eq=False)
class AucScores:
    """What `auc` returns.

    Attributes
    ----------
    mean : float
        Over the users that have both relevant and other items.
    n_users : int
        How many these are.
    per_user : ndarray of float64, shape (users,)
        NaN for the others.
    """

    mean: float
    n_users: int
    per_user: np.ndarray


def auc(higher: Any, tied: Any, relevant_indptr: Any, n_others: Any) -> AucScores:
    """Area under each user's ROC curve, from the ranks of the relevant items.

    The share of pairs (relevant item, other item) that are in the right order, ties counting half:

        AUC_u = 1 − Σ_r (higher_r + tied_r / 2) / (R_u · N_u)

    over the user's R relevant items r and N other candidates. The sums are exact integers. The
    mean of users' areas is not the area of all users' pairs pooled.

    Parameters
    ----------
    higher, tied : vector of int
        For each relevant item, user by user: how many of the user's other candidates score
        strictly higher, and how many score the same.
    relevant_indptr : vector of int, shape (users + 1,)
        User u's relevant items are the entries ``relevant_indptr[u]:relevant_indptr[u + 1]``.
    n_others : int or vector of int, shape (users,)
        Candidates that are not relevant: all items less the relevant and the skipped ones.

    Returns
    -------
    AucScores
        The mean, and each user's own; NaN for users without relevant or without other items.

    Raises
    ------
    TypeError
        If an argument does not hold integers.
    ValueError
        If lengths do not agree, the indptr falls, a count is negative or above the number of
        other candidates, or no user has both relevant and other items.

    References
    ----------
    J. A. Hanley and B. J. McNeil, The meaning and use of the area under a receiver operating
    characteristic (ROC) curve, Radiology 143, 1982, doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    One user, scores 5 and 3 for the relevant items, 4, 3 and 1 for the others:

    >>> from wlrmf.metrics import auc
    >>> auc([0, 1], [0, 1], [0, 2], 3).mean
    0.75
    """
    indptr = read_indptr(relevant_indptr, "relevant_indptr")
    above, same = (
        read_counts(value, name, int(indptr[-1]), "one number a relevant item")
        for value, name in ((higher, "higher"), (tied, "tied"))
    )
    sizes = np.diff(indptr)
    if np.ndim(n_others) == 0:
        others = np.full(len(sizes), read_int(n_others, "n_others", 0, COUNTS))
    else:
        others = read_counts(n_others, "n_others", len(sizes), "one number a user")
    over = above + same > np.repeat(others, sizes)
    if over.any():
        e = int(np.argmax(over))
        u = user_of(indptr, e)
        raise ValueError(
            f"`higher` + `tied` must be at most `n_others`; got {above[e]} + {same[e]} at "
            f"{at((e,))}, and {others[u]} for user {u}"
        )
    counts = (sizes > 0) & (others > 0)
    if not counts.any():
        raise ValueError("`n_others` and `relevant_indptr` leave no user with items of both kinds")
    halves = np.concatenate(([0], np.cumsum(2 * above + same)))
    misses = halves[indptr[1:]] - halves[indptr[:-1]]
    own = np.full(len(sizes), np.nan)
    own[counts] = 1 - misses[counts] / (2.0 * sizes[counts] * others[counts])
    return AucScores(float(np.mean(own[counts])), int(counts.sum()), own)
