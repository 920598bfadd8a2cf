"""``wlrmf fit --feedback``, ``recommend`` and ``evaluate``, end to end."""

import numpy as np
import pytest

import wlrmf
from wlrmf.cli import main
from wlrmf.io import write_columns
from wlrmf.recommender import Recommender

pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line needs rich")
pytestmark = pytest.mark.usefixtures("place", "pyarrow")

TABLE = ("--rows", "user", "--cols", "item")
RATED = (*TABLE, "--values", "rating")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory of its own for every test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(240)[:160], 12)
    truth = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 12))
    rating = 3 + truth[user, item]
    return {
        "user": np.array([f"user {k}" for k in user]),
        "item": np.array([f"item {k}" for k in item]),
        "rating": rating,
    }


@pytest.fixture
def ratings(columns):
    write_columns("r.csv", columns)
    return "r.csv"


def ok(capsys, *argv, status=0):
    assert main(list(argv)) == status, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *argv):
    assert main(list(argv)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.out == ""
    return said.err


def test_fit_makes_a_recommender(capsys, ratings, columns):
    out = ok(
        capsys, "fit", ratings, *RATED, "--feedback", "explicit", "--rank", "2", "--reg", "0.1"
    )
    assert "20 users × 12 items, 160 ratings" in out
    assert "rank 2 + biases, explicit feedback, float32" in out
    model = Recommender.load("r.wlrmf.npz")
    twin = Recommender(2, reg=0.1).fit(columns, value="rating")
    np.testing.assert_array_equal(model.model.left, twin.model.left)
    assert "20 users × 12 items" in ok(capsys, "info", "r.wlrmf.npz")
    assert "'user 0'" in ok(capsys, "info", "r.wlrmf.npz")
    one = ok(capsys, "predict", "r.wlrmf.npz", "--row", "user 3", "--col", "item 4")
    assert float(one) == pytest.approx(twin.predict("user 3", "item 4"), rel=1e-6)


def test_fit_implicit(capsys, ratings, columns):
    ok(
        capsys, "fit", ratings, *TABLE, "--feedback", "implicit", "--rank", "2", "--alpha", "2",
        "--baseline", "0.5", "--popularity", "0.3", "--no-bias", "--quiet", "--max-iter", "4",
        "--out", "m.npz",
    )  # fmt: skip
    model = Recommender.load("m.npz")
    assert (model.alpha, model.baseline, model.popularity) == (2, 0.5, 0.3)
    assert model.model.n_iter == 4


@pytest.fixture
def model(columns):
    known = Recommender(2, reg=0.1).fit(columns, value="rating")
    known.save("m.npz")
    return known


def test_recommend(capsys, model):
    out = ok(capsys, "recommend", "m.npz", "--user", "user 7", "--user", "user 2", "-n", "3")
    lines = [line.split() for line in out.splitlines() if line.startswith(" user ")][1:]
    wanted = model.recommend(["user 7", "user 2"], 3)
    assert [" ".join(line[:3]) for line in lines] == [
        f"user {k} {place}" for k in (7, 2) for place in (1, 2, 3)
    ]
    assert [" ".join(line[3:5]) for line in lines] == wanted.found.tolist()
    out = ok(capsys, "recommend", "m.npz", "--user", "user 7", "-n", "12", "--keep-seen")
    assert sum(line.startswith(" user 7") for line in out.splitlines()) == 12
    out = ok(capsys, "recommend", "m.npz", "--like", "item 3", "-n", "2")
    assert [f"item {k}" in out for k in range(12)].count(True) >= 2
    said = ok(capsys, "recommend", "m.npz", "--out", "all.csv", "-n", "2")
    assert "20 lists" in said
    table = np.genfromtxt("all.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert table.dtype.names == ("user", "item", "place", "score")
    assert [name.strip('"') for name in table["item"]] == model.recommend(n=2).found.tolist()


def test_integer_ids(capsys):
    rng = np.random.default_rng(1)
    user, item = np.divmod(rng.permutation(60)[:40], 6)
    Recommender(1, feedback="implicit").fit((user + 100, item)).save("m.npz")
    assert "103" in ok(capsys, "recommend", "m.npz", "--user", "103")
    said = refused(capsys, "recommend", "m.npz", "--user", "bob")
    assert "user ids of this model are integers, such as 100; got bob" in said
    said = refused(capsys, "recommend", "m.npz", "--user", "7")
    assert "1 unknown user id, the first 7" in said


def test_evaluate(capsys, model, ratings, columns):
    out = dict(
        line.split() for line in ok(capsys, "evaluate", "m.npz", ratings, *RATED).splitlines()
    )
    scores = model.evaluate(columns, value="rating")
    assert {name: float(value) for name, value in out.items()} == pytest.approx(scores, rel=1e-4)
    given = ("--metrics", "ndcg, recall", "--at", "2,4", "--keep-seen", "--relevant-from", "3")
    out = ok(capsys, "evaluate", "m.npz", ratings, *RATED, *given)
    assert [line.split()[0] for line in out.splitlines()] == [
        "ndcg@2", "ndcg@4", "recall@2", "recall@4", "n_users",
    ]  # fmt: skip


def test_evaluate_a_plain_model(capsys, ratings, columns):
    ok(capsys, "fit", ratings, *RATED, "--rank", "2", "--reg", "1", "--out", "p.npz", "--quiet")
    out = ok(capsys, "evaluate", "p.npz", ratings, *RATED, "--metrics", "rmse")
    assert "rmse" in out
    assert "n_pairs  160" in out
    assert "--metrics ndcg: a model" in refused(
        capsys, "evaluate", "p.npz", ratings, *RATED, "--metrics", "ndcg"
    )
    write_columns("new.csv", {"user": ["zoe"], "item": ["item 1"], "rating": np.array([1.0])})
    assert "no row 'zoe' among the 20" in refused(capsys, "evaluate", "p.npz", "new.csv", *RATED)
    said = refused(capsys, "recommend", "p.npz", "--user", "user 1")
    assert "a model without ids and ratings" in said


def test_a_selections_file(capsys):
    Y = np.random.default_rng(0).standard_normal((12, 9))
    wlrmf.select(Y, ranks=[1], regs=[1.0], folds=2).save("s.npz")
    assert "s.npz: wlrmf.Selection.load reads this file" in refused(capsys, "info", "s.npz")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("fit", "r.csv", "--rank", "2", "--alpha", "1", *RATED), "--alpha is for a recommender"),
        (("fit", "r.csv", "--rank", "2", "--feedback", "explicit", *TABLE), "--values is missing"),
        (("fit", "r.csv", "--rank", "2", "--feedback", "explicit"), "--rows and --cols"),
        (
            ("fit", "r.csv", "--rank", "2", "--feedback", "implicit", *TABLE, "--key", "a"),
            "--key is not for a recommender",
        ),
        (("recommend", "m.npz"), "say for whom"),
        (("recommend", "m.npz", "--user", "a", "--like", "b"), "one at a time"),
        (("recommend", "m.npz", "--user", "nobody"), "1 unknown user id, the first 'nobody'"),
        (("recommend", "m.npz", "--user", "item 3"), "are users and items exchanged?"),
        (("recommend", "m.npz", "--user", "user 1", "-n", "-1"), "must be an int of at least 0"),
        (("recommend", "m.npz", "--out", "lists.npy"), "unknown kind of file"),
        (("fit", "r.npy", "--rank", "2", "--duplicates", "sum"), "--duplicates is for a table"),
        (("evaluate", "m.npz", "r.csv", *RATED, "--at", "ten"), "--at 'ten'"),
        (
            ("evaluate", "m.npz", "r.csv", *RATED, "--metrics", "accuracy"),
            "--metrics must be of",
        ),
        (("evaluate", "m.npz", "none.csv", *RATED), "no such file"),
        (
            (
                "evaluate",
                "m.npz",
                "r.csv",
                "--rows",
                "item",
                "--cols",
                "user",
                "--values",
                "rating",
            ),
            "are users and items exchanged?",
        ),
    ],
)
def test_mistakes(capsys, model, ratings, argv, said):
    assert said in refused(capsys, *argv)


def test_unknown_users_and_repeated_pairs(capsys, model, ratings, columns):
    out = ok(capsys, "recommend", "m.npz", "--user", "nobody", "--unknown", "mean", "-n", "3")
    assert out.count("nobody") == 3
    twice = {name: np.concatenate([column, column[:2]]) for name, column in columns.items()}
    write_columns("twice.csv", twice)
    argv = ("fit", "twice.csv", *RATED, "--rank", "2", "--reg", "1", "--out", "t.npz")
    assert "--duplicates" in refused(capsys, *argv)
    for extra in ((), ("--feedback", "explicit")):
        ok(capsys, *argv, *extra, "--duplicates", "last", "--force")
