"""What the laws are drawn over: problems of every structure, and arrays laid out in every way."""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from cases import STRUCTURES, arguments
from hypothesis import assume
from hypothesis import strategies as st

import wlrmf
from wlrmf.problem import build, dense, listing, observed
from wlrmf.solvers import ALS, SOLVERS
from wlrmf.validation import read_cells

ITERATIVE = {name: solver for name, solver in SOLVERS.items() if name != "svd"}
ITERATIVE["als-plain"] = ALS(acceleration=None)
SPARSE = [structure for structure in STRUCTURES if structure not in ("complete", "dense")]
FEW = wlrmf.Stop(max_iter=4, gtol=0, ftol=0)
WIDE = st.sampled_from([0.0, 0.0, 1.0, 6.0])  # orders of magnitude between weights

solvers = st.sampled_from(sorted(ITERATIVE))
dtypes = st.sampled_from([np.float32, np.float64])
regs = st.sampled_from([0.0, 1e-6, 0.3, 5.0])
seeds = st.integers(0, 2**20)


@st.composite
def problems(draw, structures=STRUCTURES, dtypes=dtypes, most=12, orders=WIDE):
    """Arguments of `fit`: a small planted problem, at times with twins, zeros or empty rows."""
    structure = draw(st.sampled_from(list(structures)))
    m, n = draw(st.integers(1, most)), draw(st.integers(1, most))
    rank, share = draw(st.integers(1, 3)), draw(st.sampled_from([0.15, 0.5, 0.9, 1.0]))
    noise, seed = draw(st.sampled_from([0.0, 0.1, 3.0])), draw(seeds)
    given, _ = arguments(structure, m, n, rank, noise, share, seed, draw(dtypes))
    Y = given["Y"].copy()
    values = Y if isinstance(Y, np.ndarray) else Y.data
    assume(values.size and not np.isnan(values).all())
    change = draw(st.sampled_from(["none", "none", "twins", "zeros", "whole", "large"]))
    if change == "twins" and isinstance(Y, np.ndarray):
        Y[-1], Y[:, -1] = Y[0], Y[:, 0]
        assume(not np.isnan(Y).all())
    elif change == "zeros":
        values[:: draw(st.integers(1, 3))] *= 0
    elif change == "whole":
        values[...] = np.round(values)
    elif change == "large":
        values *= 1e4
    given["Y"] = Y
    spread = draw(orders)
    if spread and "weights" in given:
        weights = given["weights"].copy()
        w = weights if isinstance(weights, np.ndarray) else weights.data
        w[...] = 10.0 ** np.random.default_rng(seed).uniform(-spread / 2, spread / 2, w.shape)
        given["weights"] = weights
    return given


def shape(given):
    return given["Y"].shape


def factors(given, rank, seed):
    """A start for `fit`, of the form that it shows, and not what the data were planted with."""
    rng = np.random.default_rng([seed, 1])
    return tuple(rng.standard_normal((rank, size)) for size in shape(given))


def fit(given, **options):
    """`wlrmf.fit`, without what it has to say of the small and odd problems of these tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.DataWarning)
        warnings.simplefilter("ignore", wlrmf.ConvergenceWarning)
        return wlrmf.fit(**given, **{"stop": FEW} | options)


def judged(given):
    """The problem of these arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wlrmf.DataWarning)
        return build(read_cells(**given))


def same(a, b):
    """Two models with the same bits."""
    for name in ("left", "right"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.value == b.value


def scaled(given, c):
    """The same arguments, every weight times c."""
    out = dict(given)
    if "weights" in given:
        out["weights"] = given["weights"] * c
    elif isinstance(given["Y"], np.ndarray):
        out["weights"] = np.full(shape(given), float(c))
    else:
        out["weights"] = given["Y"].copy()
        out["weights"].data = np.full(given["Y"].data.size, float(c))
    if "baseline" in given:
        base = given["baseline"]
        out["baseline"] = (c * base[0], base[1]) if isinstance(base, tuple) else c * base
    return out


def permuted(given, order):
    """The same arguments with the rows of Y in another order."""
    out = dict(given)
    for name in {"Y", "weights"} & set(given):
        matrix = given[name]
        rows = matrix if isinstance(matrix, np.ndarray) else sp.csr_array(matrix)
        out[name] = rows[order]
    if isinstance(given.get("baseline"), tuple):
        u, v = given["baseline"]
        out["baseline"] = (u[order], v)
    return out


def transposed(given):
    """The same arguments with rows and columns exchanged."""
    out = {k: v.T if k in ("Y", "weights") else v for k, v in given.items()}
    if isinstance(given.get("baseline"), tuple):
        out["baseline"] = given["baseline"][::-1]
    return out


def unaligned(array):
    raw = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:]
    return raw.view(array.dtype).reshape(array.shape)


def strided(array):
    return np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3]


def locked(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": strided,
    "negative": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": locked,
    "swapped bytes": lambda array: array.astype(array.dtype.newbyteorder()),
    "unaligned": unaligned,
    "subclass": lambda array: np.ma.array(array),
    "list": lambda array: array.tolist(),
}
FORMATS = ("coo", "csr", "csc", "bsr", "lil", "dok", "dia")


def backwards(compressed):
    """The entries of each row (column) last to first."""
    out = compressed.copy()
    for lo, hi in zip(out.indptr[:-1], out.indptr[1:], strict=True):
        out.indices[lo:hi] = compressed.indices[lo:hi][::-1]
        out.data[lo:hi] = compressed.data[lo:hi][::-1]
    out.has_sorted_indices = False
    return out


@contextmanager
def small_chunks():
    """Chunks of single rows, so that small problems too are spread over threads."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (dense, listing, observed):
            patch.setattr(module, "CHUNK", 1)
        yield


def formatted(matrix, form, seed):
    """A sparse matrix in another format, its entries in another order and its indices wide."""
    coo = sp.coo_array(matrix)
    order = np.random.default_rng(seed).permutation(coo.nnz)
    coords = tuple(index[order].astype(np.int64) for index in coo.coords)
    mixed = sp.coo_array((coo.data[order], coords), shape=coo.shape)
    whole = coo.nnz == coo.shape[0] * coo.shape[1]
    if form in ("csr", "csc"):
        return backwards(mixed.asformat(form))
    if (form == "bsr" and not whole) or (form == "dia" and not (whole and coo.data.all())):
        form = "csr"  # bsr fills its blocks with zeros, dia drops those that are stored
    return mixed if form == "coo" else mixed.asformat(form)
