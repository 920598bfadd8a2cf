"""Imputation error and seconds beside other imputers.

    python -m benchmarks.imputation --data DIR [--seconds 30] [--tables epa,nyc,un,digits]
    python -m benchmarks.imputation --report-only

Of each table, a share of the observed cells is hidden at random; every imputer fills the holes, and
the error is that of the hidden cells: the root mean square, each column in units of the standard
deviation of its observed cells before any were hidden. The column mean has an error of about 1.
Columns that are constant are left out. Errors are means over the seeds, of which each hides other
cells; seconds are of `fit_transform`, the median over seeds, after one call that compiles.

What is tuned is tuned for each table, share and seed by the error on a tenth of the visible cells,
hidden too, and then fitted to all visible ones; the seconds shown are those of that last fit. An
imputer that takes longer than the seconds given, for one table, share and seed, is a row that says
so, and is not tried at the shares that follow.

Each peer runs in a process of its own, with two threads where it has any. fancyimpute has its own
environment (`environments.py`).

The tables: `epa`, 630 days × 25 species of particulate matter; `nyc`, 365 days × 223 routes of mean
arrival delays; `un`, 200 countries × the last 1,500 roll calls; `digits`, scikit-learn's 1,797 × 64
pixels. The first three are read from DIR.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import time
import warnings
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .environments import ROOT, interpreter
from .processes import run_module

SHARES = (0.1, 0.3, 0.5, 0.7)
RESULTS = ROOT / "benchmarks" / "results"
THREADS = 2


def epa(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with np.load(folder / "epa_baltimore.npz", allow_pickle=False) as a:
        kept = a["species"] != "PM2.5"
        return a["conc"][:, kept].astype(float), a["unc"][:, kept].astype(float) ** -2


def nyc(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with np.load(folder / "nyc_delays_2013.npz", allow_pickle=False) as a:
        return a["mean_arr_delay"].T.astype(float), a["n_flights"].T.astype(float)


def un(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with np.load(folder / "un_votes.npz", allow_pickle=False) as a:
        votes = a["votes"][:, -1500:].astype(float)
    return np.where(votes == 9, np.nan, votes), None


def digits(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    from sklearn.datasets import load_digits

    return load_digits().data.astype(float), None


TABLES = {"epa": epa, "nyc": nyc, "un": un, "digits": digits}


def wlrmf_imputer(Y: np.ndarray, weights: np.ndarray | None = None, **options) -> np.ndarray:
    from wlrmf.estimator import LowRankImputer

    imputer = LowRankImputer(keep_empty_features=True, n_threads=THREADS, **options)
    return imputer.fit_transform(Y, weights=weights)


def wlrmf_multiple(Y: np.ndarray, rank: int, multiple: float) -> np.ndarray:
    """A ridge that is a multiple of that for noise, so that one grid serves every size."""
    from wlrmf.estimator.ridge import noise_ridge

    return wlrmf_imputer(Y, rank=rank, reg=multiple * noise_ridge(Y))


def scikit_learn(name: str):
    def impute(Y: np.ndarray, **options) -> np.ndarray:
        from sklearn import impute
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401

        return getattr(impute, name)(keep_empty_features=True, **options).fit_transform(Y)

    return impute


def fancy(name: str):
    def impute(Y: np.ndarray, scaled: bool = False, multiple: float = 0.0, **options) -> np.ndarray:
        """`scaled`: columns of mean 0 and deviation 1, and the ridge a multiple as above."""
        import fancyimpute

        if scaled:
            seen = ~np.isnan(Y)
            center = np.nan_to_num(np.nanmean(Y, axis=0))
            spread = np.nan_to_num(np.nanstd(Y, axis=0))
            spread[spread == 0] = 1
            Y = (Y - center) / spread
            if multiple:
                sizes = sum(np.sqrt(size) for size in Y.shape)
                options["shrinkage_value"] = multiple * np.sqrt(seen.mean()) * sizes
        filled = getattr(fancyimpute, name)(verbose=False, **options).fit_transform(Y)
        return filled * spread + center if scaled else filled

    return impute


# name: how it imputes, and the settings to choose among (one: nothing is tuned)
METHODS = {
    "wlrmf": (wlrmf_imputer, [{}]),
    "wlrmf, tuned": (
        wlrmf_multiple,
        [
            {"rank": rank, "multiple": multiple}
            for rank, multiple in itertools.product((5, 32), (0.7, 0.35, 0.17))
        ],
    ),
    "mean": (scikit_learn("SimpleImputer"), [{}]),
    "KNN": (scikit_learn("KNNImputer"), [{}]),
    "KNN, tuned": (
        scikit_learn("KNNImputer"),
        [{"n_neighbors": k, "weights": "distance"} for k in (5, 15, 40)],
    ),
    "Iterative": (scikit_learn("IterativeImputer"), [{}]),
    "Iterative, tuned": (
        scikit_learn("IterativeImputer"),
        [{"n_nearest_features": k, "max_iter": 10, "random_state": 0} for k in (5, 15)],
    ),
    "SoftImpute": (fancy("SoftImpute"), [{}]),
    "SoftImpute, tuned": (
        fancy("SoftImpute"),
        [{"scaled": True, "multiple": c} for c in (0.7, 0.35, 0.17, 0.08)],
    ),
    "IterativeSVD": (fancy("IterativeSVD"), [{}]),
    "IterativeSVD, tuned": (
        fancy("IterativeSVD"),
        [{"scaled": True, "rank": rank} for rank in (1, 2, 5, 10)],
    ),
}


def hide(Y: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The table with holes, and where they are."""
    hidden = (np.random.default_rng(seed).random(Y.shape) < share) & ~np.isnan(Y)
    return np.where(hidden, np.nan, Y), hidden


def error(Y: np.ndarray, filled: np.ndarray, hidden: np.ndarray) -> float:
    spread = np.nanstd(Y, axis=0)
    judged = hidden & (spread > 0)
    scaled = (filled - Y) / np.where(spread > 0, spread, 1)
    return float(np.sqrt(np.mean(scaled[judged] ** 2)))


def weighted_error(Y, filled, hidden, weights) -> float:
    """In the table's unit, or in standard errors where weights are 1/σ²."""
    return float(np.sqrt(np.average((filled - Y)[hidden] ** 2, weights=weights[hidden])))


def measure(Y: np.ndarray, weights: np.ndarray | None, name: str, share: float, seed: int) -> dict:
    """One line of the results."""
    impute, settings = METHODS[name]
    visible, hidden = hide(Y, share, seed)
    if len(settings) > 1:
        training, validation = hide(visible, 0.1, 1000 + seed)
        errors = [error(visible, impute(training, **s), validation) for s in settings]
        settings = [settings[int(np.argmin(errors))]]
    begin = time.perf_counter()
    filled = impute(visible, **settings[0])
    seconds = time.perf_counter() - begin
    found = {"error": error(Y, filled, hidden), "seconds": seconds, "setting": settings[0]}
    if weights is not None and name == "wlrmf":
        weighted = impute(visible, weights=np.nan_to_num(weights))
        found |= {
            "error, weights used": error(Y, weighted, hidden),
            "weighted error": weighted_error(Y, filled, hidden, weights),
            "weighted error, weights used": weighted_error(Y, weighted, hidden, weights),
        }
    return found


def work(folder: Path, table: str, name: str, seeds: int, limit: float) -> None:
    """Print one method's lines for one table; the first that takes too long is the last."""
    warnings.simplefilter("ignore")
    np.random.seed(0)  # noqa: NPY002 - what fancyimpute draws from
    Y, weights = TABLES[table](folder)
    if name.startswith("wlrmf"):
        wlrmf_imputer(hide(Y, 0.1, 99)[0][:100])  # compiles
    signal.signal(signal.SIGALRM, too_late)
    for share, seed in itertools.product(SHARES, range(seeds)):
        line = {"table": table, "method": name, "share": share, "seed": seed}
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            line |= measure(Y, weights, name, share, seed)
        except TimeoutError:
            line["failure"] = f"more than {limit:.0f} s"
        except Exception as failure:
            line["failure"] = f"{type(failure).__name__}: {failure}"[:200]
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(line), flush=True)
        if "failure" in line:
            return


def too_late(*_: object) -> None:
    raise TimeoutError


def run(folder: str, table: str, name: str, seeds: int, limit: float) -> list[dict]:
    """One method and table, in a process of its own."""
    peer = "fancyimpute" if name.startswith(("SoftImpute", "IterativeSVD")) else "wlrmf"
    given = ["--data", folder, "--tables", table, "--methods", name, "--here"]
    numbers = ["--seeds", str(seeds), "--seconds", str(limit)]
    most = limit * seeds * len(SHARES) + 60
    printed, reason = run_module(
        interpreter(peer),
        ["benchmarks.imputation", *given, *numbers],
        THREADS,
        limit=most,
    )
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    if reason:
        lines.append(
            {"table": table, "method": name, "share": SHARES[0], "seed": 0, "failure": reason}
        )
    return lines


def report() -> None:
    """Write the page from all results; later lines replace earlier ones."""
    latest: dict[tuple, dict] = {}
    for path in sorted(RESULTS.glob("imputation-*.jsonl")):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            latest[line["table"], line["method"], line["share"], line["seed"]] = line
    lines = list(latest.values())
    parts = [HEADER]
    for table in TABLES:
        chosen = [line for line in lines if line["table"] == table]
        if chosen:
            parts += [f"## {table}", method_table(chosen)]
    weighted = [line for line in lines if "weighted error" in line]
    if weighted:
        parts += ["## With weights", WEIGHTS, weights_table(weighted)]
    (RESULTS / "imputation.md").write_text("\n\n".join(parts) + "\n")


HEADER = """# Imputation

Made by `python -m benchmarks.imputation --data DIR` and `--report-only` from the
`imputation-*.jsonl` beside it; the first lines of `benchmarks/imputation.py` say what was done.

Error of hidden cells, in standard deviations of their column, and seconds, at four shares of hidden
cells. The least error of a column is bold. A dash: not tried, because a smaller share took too
long. The limit was 15 seconds for a fit and its tuning. wlrmf's defaults were chosen on these
tables, which flatters its first row; the tuned ones saw training cells alone."""
WEIGHTS = """wlrmf's default with and without the cells' weights (`epa`: 1/σ²; `nyc`: numbers of
flights). The weighted error is the root mean square under these weights, in the unit of the table;
the other is that of the tables above."""


def method_table(lines: list[dict]) -> str:
    cells: dict[tuple, list[dict]] = defaultdict(list)
    for line in lines:
        cells[line["method"], line["share"]].append(line)
    means = {
        key: np.mean([line["error"] for line in found])
        for key, found in cells.items()
        if not any("failure" in line for line in found)
    }
    least = {share: min(e for (_, s), e in means.items() if s == share) for share in SHARES}
    rows = [["imputer", *(f"{share:.0%}" for share in SHARES)]]
    for name in METHODS:
        row = [name]
        for share in SHARES:
            found = cells.get((name, share), [])
            failures = [line["failure"] for line in found if "failure" in line]
            if failures:
                row.append(failures[0])
            elif found:
                shown = f"{means[name, share]:.3f}"
                shown = f"**{shown}**" if means[name, share] <= least[share] * 1.0005 else shown
                row.append(f"{shown} ({np.median([line['seconds'] for line in found]):.2g} s)")
            else:
                row.append("–")
        rows.append(row)
    return markdown(rows)


def weights_table(lines: list[dict]) -> str:
    keys = ["weighted error", "weighted error, weights used", "error", "error, weights used"]
    rows = [["table", "hidden", *keys]]
    for table, share in itertools.product(TABLES, SHARES):
        found = [line for line in lines if (line["table"], line["share"]) == (table, share)]
        if found:
            means = (f"{np.mean([line[key] for line in found]):.4g}" for key in keys)
            rows.append([table, f"{share:.0%}", *means])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Imputation error and seconds.")
    parser.add_argument("--data", help="directory of epa_baltimore.npz and others")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--methods", help="names separated by ;")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30, help="most for one fit and its tuning")
    parser.add_argument("--report-only", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    methods = options.methods.split(";") if options.methods else list(METHODS)
    tables = options.tables.split(",")
    if options.here:
        work(Path(options.data), tables[0], methods[0], options.seeds, options.seconds)
        return
    if not options.report_only:
        if options.data is None:
            parser.error("--data is needed: the directory of the tables")
        folder = str(Path(options.data).resolve())
        path = RESULTS / f"imputation-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
        for table, name in itertools.product(tables, methods):
            lines = run(folder, table, name, options.seeds, options.seconds)
            with path.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
    report()


if __name__ == "__main__":
    main()
