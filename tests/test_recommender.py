"""Recommender: ids in, predictions and lists out, held against `fit` and slow twins."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from naive import best_rows

import wlrmf
from wlrmf import Stop
from wlrmf.io import DataFileError
from wlrmf.recommender import Recommender
from wlrmf.recommender.ratings import read_ratings
from wlrmf.validation.errors import DataWarning, NotFittedError

FEW = Stop(max_iter=8, gtol=0, ftol=0)
M, N = 23, 17


def names(kind, size):
    """Ids whose sorted order is that of their numbers."""
    return np.array([f"{kind}{k:03d}" for k in range(size)])


def triplets(seed=0, counts=False):
    """Users, items, values; every user and item has some, in no order."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(M * N)[:180]
    cells = np.union1d(cells, np.arange(N) * (N + 1) % (M * N))
    cells = np.union1d(cells, np.arange(M) * N)
    i, j = np.divmod(rng.permutation(cells), N)
    values = rng.integers(1, 40, i.size) if counts else 3 + rng.standard_normal(i.size)
    return names("u", M)[i], names("i", N)[j], values.astype(float)


def matrix(data):
    users, items, values = data
    place = np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]
    return sp.csr_array(sp.coo_array((values, place), shape=(M, N)))


def explicit(**settings):
    given = {"rank": 3, "reg": 0.1, "stop": FEW, "dtype": "float64"} | settings
    return Recommender(**given)


def implicit(**settings):
    plain = {"reg": 0.3, "reg_scaling": "none"}
    given = {"feedback": "implicit", "alpha": 0.5} | plain | settings
    return explicit(**given)


def both():
    return [explicit().fit(triplets()), implicit().fit(triplets(counts=True))]


def same_answers(one, other):
    np.testing.assert_array_equal(one.model.left, other.model.left)
    np.testing.assert_array_equal(one.model.right, other.model.right)
    for a, b in zip(one.recommend(n=4), other.recommend(n=4), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


# fit


def test_explicit_is_fit_of_the_matrix():
    data = triplets()
    wanted = wlrmf.fit(matrix(data), rank=3, reg=0.1, reg_scaling="count", bias=True, stop=FEW)
    model = explicit().fit(data).model
    np.testing.assert_array_equal(model.left, wanted.left)
    np.testing.assert_array_equal(model.right, wanted.right)


@pytest.mark.parametrize(("popularity", "activity"), [(0, 0), (0.5, 0), (0, 0.4), (0.3, 1)])
def test_implicit_is_fit_of_ones_with_confidences(popularity, activity):
    data = triplets(counts=True)
    R = matrix(data)
    count = R.astype(bool).sum(axis=0) ** popularity
    v = 0.7 * count / count.mean()
    own = R.astype(bool).sum(axis=1) ** activity
    weights = R.copy()
    weights.data = 1 + 0.5 * R.data
    wanted = wlrmf.fit(
        R.astype(bool).astype(float), rank=3, weights=weights, baseline=(own / own.mean(), v),
        reg=0.3, stop=FEW,
    )  # fmt: skip
    given = {"baseline": 0.7, "popularity": popularity, "activity": activity}
    model = implicit(**given).fit(data).model
    np.testing.assert_allclose(model.reconstruct(), wanted.reconstruct(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_default_ridge_of_ratings_goes_with_their_scale(weighted):
    data = triplets()
    size, W = 0.085 * np.std(data[2]), None
    if weighted:
        data = (*data, np.random.default_rng(2).random(data[2].size) + 0.5)
        W, size = matrix((*data[:2], data[3])), size * data[3].mean()
    wanted = wlrmf.fit(
        matrix(data[:3]), rank=3, weights=W, reg=size, reg_scaling="count", bias=True, stop=FEW
    )
    model = explicit(reg=None).fit(data).model
    np.testing.assert_allclose(model.reconstruct(), wanted.reconstruct(), rtol=1e-9)


def test_default_settings_do_not_depend_on_the_unit_of_the_ratings():
    users, items, values = triplets()
    one = explicit(reg=None, bias=False).fit((users, items, values))
    other = explicit(reg=None, bias=False).fit((users, items, 16 * values))
    np.testing.assert_allclose(
        other.model.reconstruct(), 16 * one.model.reconstruct(), rtol=1e-8, atol=1e-10
    )


def test_default_ridge_of_implicit_feedback():
    data = triplets(counts=True)
    R = matrix(data)
    weights = R.copy()
    weights.data = 1 + R.data
    wanted = wlrmf.fit(
        R.astype(bool).astype(float), rank=3, weights=weights, baseline=1, reg=0.1,
        reg_scaling="count", stop=FEW,
    )  # fmt: skip
    given = Recommender(3, "implicit", stop=FEW, dtype="float64")
    np.testing.assert_allclose(given.fit(data).model.reconstruct(), wanted.reconstruct())


def test_ratings_without_spread_keep_a_ridge():
    users, items, values = triplets()
    with pytest.warns(DataWarning, match="all .* values are 2.0"):
        model = explicit(reg=None).fit((users, items, np.full(values.size, 2.0)))
    assert model.model.row_reg > 0


def forms(data, tmp_path):
    users, items, values = data
    columns = {"user": users, "item": items, "value": values}
    given = {"value": "value"}
    yield columns, given
    yield matrix(data), {"user": np.unique(users), "item": np.unique(items)}
    pandas = pytest.importorskip("pandas", reason="pandas is absent")
    polars = pytest.importorskip("polars", reason="polars is absent")
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is absent")
    yield pandas.DataFrame(columns), given
    yield pandas.DataFrame(columns).astype({"user": "category", "item": "category"}), given
    yield polars.DataFrame(columns), given
    table = pyarrow.table(columns)
    yield table, given
    pandas.DataFrame(columns).to_csv(tmp_path / "a.csv")
    yield tmp_path / "a.csv", given
    renamed = polars.DataFrame(columns).rename({"user": "who", "item": "what", "value": "how"})
    renamed.write_parquet(tmp_path / "a.parquet")
    yield str(tmp_path / "a.parquet"), {"user": "who", "item": "what", "value": "how"}


def test_all_forms_of_data_are_the_same(tmp_path):
    data = triplets()
    wanted = explicit().fit(data)
    assert wanted.user_ids.tolist() == names("u", M).tolist()
    for form, columns in forms(data, tmp_path):
        same_answers(explicit().fit(form, **columns), wanted)


def test_weights_are_of_the_squared_errors():
    users, items, values = triplets()
    rng = np.random.default_rng(5)
    weights = rng.integers(1, 4, values.size).astype(float)
    twice = tuple(np.repeat(part, weights.astype(int)) for part in (users, items, values))
    weighted = explicit(reg_scaling="none").fit((users, items, values, weights))
    repeated = explicit(reg_scaling="none", duplicates="mean").fit((*twice, np.ones(twice[0].size)))
    # a weight of 2 is the entry twice; the mean of their weights is 1 each, so sum them instead
    merged = explicit(reg_scaling="none", duplicates="sum").fit(
        (*twice[:2], twice[2] / np.repeat(weights, weights.astype(int)), np.ones(twice[0].size))
    )
    np.testing.assert_allclose(weighted.model.reconstruct(), merged.model.reconstruct())
    assert not np.allclose(weighted.model.reconstruct(), repeated.model.reconstruct())


def test_duplicates_are_an_error_that_counts_them():  # R33
    users, items, values = triplets()
    again = tuple(np.concatenate([part, part[:3]]) for part in (users, items, values))
    with pytest.raises(DataFileError, match="3 rows repeat an earlier pair"):
        explicit().fit(again)
    same_answers(explicit(duplicates="last").fit(again), explicit().fit((users, items, values)))


# new ratings


@pytest.mark.parametrize("kind", [explicit, implicit])
def test_folding_in_a_user_of_the_fit_gives_that_user(kind):
    data = triplets(counts=kind is implicit)
    for popularity in (0, 0.4) if kind is implicit else (0,):
        whole = kind(popularity=popularity).fit(data)
        some = np.isin(data[0], ["u004", "u011"])
        part = whole.fold_in(tuple(column[some] for column in data))
        assert part.user_ids.tolist() == ["u004", "u011"]
        np.testing.assert_array_equal(part.model.left, whole.model.left[[4, 11]])
        np.testing.assert_array_equal(
            part.recommend("u011", 5).found, whole.recommend("u011", 5).found
        )


@pytest.mark.parametrize("kind", [explicit, implicit])
def test_partial_fit_is_the_row_solve_of_all_ratings(kind):
    users, items, _ = data = triplets(counts=kind is implicit)
    late = np.random.default_rng(1).random(users.size) < 0.2
    late |= users == "u007"
    early = tuple(column[~late] for column in data)
    model = kind().fit(early)
    right = model.model.right.copy()
    twin = model.fold_in(data)
    model.partial_fit(tuple(column[late] for column in data))
    np.testing.assert_array_equal(model.model.right, right)
    order = [model.user_ids.tolist().index(user) for user in twin.user_ids]
    np.testing.assert_array_equal(model.model.left[order], twin.model.left)
    assert model.user_ids[-1] == "u007"  # a new one comes last
    assert sorted(model.recommend("u007", N).found) == sorted(
        set(names("i", N)) - set(items[users == "u007"])
    )
    value = twin.model.value
    assert model.model.value == pytest.approx(value, rel=1e-12)


def test_activity_of_new_users_counts_as_in_the_fit():
    """Their row is that of a matrix in which they stand beside the others, at the same scale."""
    users = (data := triplets(counts=True))[0]
    whole = implicit(activity=0.6, popularity=0.3).fit(data)
    some = np.isin(users, ["u004", "u011"])
    part = whole.fold_in(tuple(column[some] for column in data))
    np.testing.assert_allclose(part.model.left, whole.model.left[[4, 11]], rtol=1e-9)
    again = part.fold_in(tuple(column[users == "u011"] for column in data))
    np.testing.assert_allclose(again.model.left, whole.model.left[[11]], rtol=1e-9)
    count = np.bincount(np.unique(users, return_inverse=True)[1])
    new = (["zoe"] * 3, ["i001", "i002", "i003"], [1.0, 2.0, 1.0])
    u = 3**0.6 / np.mean(count**0.6)
    X, c = whole.model.right, u * whole.model.base_v
    c[1:4] = [1.5, 2.0, 1.5]
    A2, Y = c[None], np.zeros((1, N))
    Y[0, 1:4] = 1
    wanted = best_rows(Y, A2, X, np.array([0.3]))
    np.testing.assert_allclose(whole.fold_in(new).model.left, wanted, rtol=1e-9)
    whole.partial_fit(new)
    np.testing.assert_allclose(whole.model.left[-1:], wanted, rtol=1e-9)
    assert whole.explain("zoe", "i009").score == pytest.approx(whole.predict("zoe", "i009"))


def test_partial_fit_and_known_ratings():
    users, items, values = triplets()
    new = (users[:1], items[:1], values[:1] + 1)
    for policy, value in (("last", values[0] + 1), ("mean", values[0] + 0.5)):
        model = explicit(duplicates=policy).fit((users, items, values)).partial_fit(new)
        changed = values.copy()
        changed[0] = value
        wanted = (
            explicit(duplicates=policy).fit((users, items, values)).fold_in((users, items, changed))
        )
        np.testing.assert_allclose(model.model.left, wanted.model.left, rtol=1e-12)
    model = explicit().fit((users, items, values))
    before = model.model
    with pytest.raises(ValueError, match=r"1 of the ratings are known already.*`duplicates`"):
        model.partial_fit(new)
    assert model.model is before


def test_new_ratings_of_unknown_items():
    data = triplets()
    new = (["u001", "x"], ["i002", "nothing"], [3.0, 4.0])
    with pytest.raises(ValueError, match="1 unknown item id, the first 'nothing'"):
        explicit().fit(data).fold_in(new)
    lenient = explicit(unknown="mean").fit(data)
    with pytest.warns(DataWarning, match="1 ratings are left out: 1 of their items"):
        folded = lenient.fold_in(new)
    assert folded.user_ids.tolist() == ["u001", "x"]
    assert not folded.model.left[1, :4].any()  # nothing known of x: bias and factors 0


# predictions


def test_predict_by_ids():
    for model in both():
        wanted = model.model.reconstruct()
        assert model.predict("u003", "i005") == pytest.approx(wanted[3, 5], rel=1e-12)
        found = model.predict(["u003", "u001"], [["i005"], ["i000"]])
        np.testing.assert_allclose(found, wanted[np.ix_([3, 1], [5, 0])].T, rtol=1e-12)


def test_unknown_ids():  # R43
    for model in both():
        all_predictions = model.model.reconstruct()
        asked = ["u003", "new", None], ["i005", "i002", "i001"]
        with pytest.raises(ValueError, match="2 unknown user ids, the first 'new'"):
            model.predict(*asked)
        found = model.predict(*asked, unknown="mean")
        means = all_predictions.mean(axis=0)
        np.testing.assert_allclose(found, [all_predictions[3, 5], means[2], means[1]], rtol=1e-9)
        np.testing.assert_allclose(model.predict("x", "y", unknown="mean"), all_predictions.mean())
        assert model.predict(*asked, unknown="zero").tolist()[1:] == [0, 0]
        assert np.isnan(model.predict(*asked, unknown="nan")[1:]).all()
        with pytest.raises(ValueError, match="`unknown` must be one of"):
            model.predict(*asked, unknown="median")
        with pytest.raises(TypeError, match="user ids are texts; got 3"):
            model.predict(3, "i001")


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint64, float])
def test_integer_ids(kind):  # R43
    users, items, values = triplets()
    numbers = {
        user: 7 * k - 20 * (kind is not np.uint64) for k, user in enumerate(np.unique(users))
    }
    model = explicit().fit((np.array([numbers[u] for u in users], kind), items, values))
    wanted = explicit().fit((users, items, values))
    np.testing.assert_array_equal(
        model.predict(np.array([numbers["u004"]]), "i003"), wanted.predict(["u004"], "i003")
    )
    with pytest.raises(ValueError, match="unknown user id"):
        model.predict(-21, "i003")
    with pytest.raises(ValueError, match="unknown user id"):
        model.predict(np.uint64(2**63 + 3), "i003")
    with pytest.raises(TypeError, match="user ids are integers"):
        model.predict("7", "i003")


# lists


def naive_list(scores, n, allowed):
    order = np.lexsort((np.arange(scores.size), -scores))
    return [j for j in order if allowed[j]][:n]


@pytest.mark.parametrize("n", [0, 1, 5, N + 3])
@pytest.mark.parametrize("filter_seen", [True, False])
def test_recommend_is_the_sorted_row(n, filter_seen):  # R53
    for model in both():
        scores = model.model.reconstruct()
        seen = matrix(triplets()).toarray() != 0
        lists = model.recommend(n=n, filter_seen=filter_seen)
        assert len(lists) == M
        for i in range(M):
            wanted = naive_list(scores[i], n, ~seen[i] if filter_seen else np.ones(N, bool))
            np.testing.assert_array_equal(lists[i][0], names("i", N)[wanted])
            np.testing.assert_allclose(lists[i][1], scores[i, wanted], rtol=1e-9)
        some = model.recommend(["u009", "u002", "u009"], n, filter_seen=filter_seen)
        for k, i in enumerate([9, 2, 9]):
            np.testing.assert_array_equal(some[k][0], lists[i][0])
            np.testing.assert_array_equal(some[k][1], lists[i][1])


def test_recommend_among_items():
    model = explicit().fit(triplets())
    scores, seen = model.model.reconstruct()[6], matrix(triplets()).toarray()[6] != 0
    include, exclude = [f"i{k:03d}" for k in (1, 2, 3, 5, 8, 13)], ["i003", "i008"]
    for given, allowed in (
        ({"include": include}, np.isin(names("i", N), include)),
        ({"exclude": exclude}, ~np.isin(names("i", N), exclude)),
        ({"include": include, "exclude": exclude}, np.isin(names("i", N), ["i001", "i002", "i005",
                                                                            "i013"])),
        ({"include": []}, np.zeros(N, bool)),
    ):  # fmt: skip
        found = model.recommend("u006", N, **given).found
        np.testing.assert_array_equal(found, names("i", N)[naive_list(scores, N, allowed & ~seen)])
    with pytest.raises(ValueError, match="1 unknown item id, the first 'none'"):
        model.recommend("u006", include=["none"])


def test_recommend_to_unknown_users():
    model = implicit().fit(triplets(counts=True))
    with pytest.raises(ValueError, match="1 unknown user id, the first 'new'"):
        model.recommend(["u001", "new"])
    average = model.model.reconstruct().mean(axis=0)
    for policy, wanted in (("mean", naive_list(average, 4, np.ones(N, bool))), ("nan", []),
                           ("zero", [])):  # fmt: skip
        lists = model.recommend(["new", "u001", "new"], 4, unknown=policy)
        np.testing.assert_array_equal(lists[0][0], names("i", N)[wanted])
        np.testing.assert_array_equal(lists[2][0], lists[0][0])
        np.testing.assert_array_equal(lists[1][0], model.recommend("u001", 4).found)


def test_lists_as_columns():
    lists = implicit().fit(triplets(counts=True)).recommend(["u001", "u002"], 3)
    columns = lists.to_dict()
    assert list(columns) == ["user", "item", "place", "score"]
    assert columns["user"].tolist() == ["u001"] * 3 + ["u002"] * 3
    assert columns["place"].tolist() == [1, 2, 3] * 2
    assert "2 lists of items, 6 in all" in repr(lists)
    assert [ids.tolist() for ids, _ in lists] == [lists[0][0].tolist(), lists[-1][0].tolist()]
    with pytest.raises(IndexError):
        lists[2]


def test_similar_by_cosine():
    model = explicit().fit(triplets())
    for kind, found, factor in (
        ("i", model.similar_items, model.model.X.T),
        ("u", model.similar_users, model.model.W.T),
    ):
        unit = factor / np.linalg.norm(factor, axis=1, keepdims=True)
        cosine = unit @ unit.T
        size = len(factor)
        lists = found([f"{kind}004", f"{kind}000"], 6)
        for k, i in enumerate([4, 0]):
            wanted = naive_list(cosine[i], 6, np.arange(size) != i)
            np.testing.assert_array_equal(lists[k][0], names(kind, size)[wanted])
            np.testing.assert_allclose(lists[k][1], cosine[i, wanted], rtol=1e-9)
        assert "similar" in lists.to_dict()
        with pytest.raises(ValueError, match="unknown"):
            found("none")


# explanations


@pytest.mark.parametrize(
    ("popularity", "scaling"), [(None, "count"), (0, "none"), (0, "count"), (0.5, "none")]
)
def test_explanation_is_what_the_row_solve_makes_of_each_rating(popularity, scaling):
    """Rows solved for one rating's target at a time, by the slow twin, add up."""
    if popularity is None:
        model = explicit().fit(triplets())
        problem = model._meaning().problem(model._fitted.ratings)
        A2 = (problem.Y.toarray() != 0).astype(float)
        Y = problem.Y.toarray()
    else:
        model = implicit(popularity=popularity, reg_scaling=scaling).fit(triplets(counts=True))
        problem = model._meaning().problem(model._fitted.ratings)
        stored = problem.Y.toarray() != 0
        A2 = np.where(stored, problem.weights.toarray(), np.ones((M, 1)) * model.model.base_v)
        Y = stored.astype(float)
    fitted, layout = model.model, model.model.layout
    X = fitted.right[:, layout.free_W]
    f = fitted.left[:, layout.free_W.stop :] @ fitted.right[:, layout.free_W.stop :].T
    i, j = 5, 12
    count = (problem.Y.toarray()[i] != 0).sum()
    reg = np.full(M, (0.1 if popularity is None else 0.3) * (count if scaling == "count" else 1))
    explanation = model.explain("u005", "i012")
    for item, share in zip(explanation.items, explanation.contributions, strict=True):
        e = int(item[1:])
        target = np.zeros((M, N))
        target[i, e] = Y[i, e] - f[i, e]
        row = best_rows(target, A2, X, reg)[i]
        assert share == pytest.approx(X[j] @ row, rel=1e-8, abs=1e-12)
    assert set(explanation.items) == set(names("i", N)[np.flatnonzero(problem.Y.toarray()[i])])
    total = explanation.base + explanation.contributions.sum()
    assert total == pytest.approx(explanation.score)
    assert explanation.score == pytest.approx(model.predict("u005", "i012"))
    size = np.abs(explanation.contributions)
    assert (np.diff(size) <= 0).all()
    assert repr(explanation).startswith(f"<score {explanation.score:.4g} = base ")
    assert list(explanation.to_dict()) == ["item", "contribution"]


# indices of inner products


def test_vectors_for_an_index_of_inner_products():
    index_module = pytest.importorskip("usearch.index", reason="usearch is absent")
    for model in both():
        users, items = model.to_ann()
        assert users.flags.c_contiguous
        assert items.flags.c_contiguous
        np.testing.assert_allclose(users @ items.T, model.model.reconstruct())
        index = index_module.Index(ndim=items.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(N), items.astype(np.float32))
        found = index.search(users.astype(np.float32), 5, exact=True)
        lists = model.recommend(n=5, filter_seen=False)
        for k in range(M):
            assert model.item_ids[found.keys[k]].tolist() == lists[k][0].tolist()


# evaluation


def test_evaluate_cells():
    users, items, values = triplets()
    model = explicit().fit((users, items, values))
    test = triplets(seed=1)
    predicted = model.predict(*test[:2])
    scores = model.evaluate(test)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - test[2]) ** 2)))
    assert scores["mae"] == pytest.approx(np.mean(np.abs(predicted - test[2])))
    assert scores["n_pairs"] == len(test[0])
    weights = np.arange(1.0, 1 + len(test[0]))
    weighted = model.evaluate((*test, weights), metrics="rmse")
    assert list(weighted) == ["rmse", "n_pairs"]
    error = np.average((predicted - test[2]) ** 2, weights=weights) ** 0.5
    assert weighted["rmse"] == pytest.approx(error)


def test_evaluate_lists():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is absent")
    data = triplets(counts=True)
    rng = np.random.default_rng(3)
    held = rng.random(data[0].size) < 0.3
    model = implicit().fit(tuple(column[~held] for column in data))
    test = tuple(column[held] for column in data[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # an item may be in the test part alone
        scores = model.evaluate(test, at=(3, 5), unknown="nan", metrics=("recall", "auc", "ndcg"))
    recalls, areas, gains = [], [], []
    for i, user in enumerate(model.user_ids):
        mine = set(test[1][test[0] == user]) & set(model.item_ids)
        if not mine:
            continue
        row = model.model.reconstruct()[i]
        seen = np.isin(model.item_ids, data[1][~held & (data[0] == user)])
        found = model.item_ids[naive_list(row, 3, ~seen)]
        recalls.append(len(mine & set(found)) / len(mine))
        truth = np.isin(model.item_ids, list(mine))
        areas.append(metrics.roc_auc_score(truth[~seen], row[~seen]))
        gains.append(metrics.ndcg_score([truth[~seen]], [row[~seen]], k=5))
    assert scores["recall@3"] == pytest.approx(np.mean(recalls))
    assert scores["auc"] == pytest.approx(np.mean(areas))
    assert scores["ndcg@5"] == pytest.approx(np.mean(gains))
    assert scores["n_users"] == len(recalls)
    assert list(scores) == ["recall@3", "recall@5", "auc", "ndcg@3", "ndcg@5", "n_users"]


def test_evaluate_counts_only_what_is_relevant():
    model = explicit().fit(triplets())
    users, items, values = triplets(seed=2)
    best = values >= 4
    given = {"metrics": ("precision", "coverage"), "at": 5, "filter_seen": False}
    scores = model.evaluate((users, items, values), relevant_from=4, **given)
    assert scores == model.evaluate((users[best], items[best]), **given)


def test_evaluate_unknown_ids():
    model = explicit().fit(triplets())
    test = (["u001", "new"], ["i001", "i002"], [1.0, 2.0])
    with pytest.raises(ValueError, match="1 unknown user id"):
        model.evaluate(test)
    assert model.evaluate(test, unknown="nan")["n_pairs"] == 1
    assert model.evaluate(test, unknown="mean")["n_pairs"] == 2
    with pytest.warns(DataWarning, match="1 of 2 ratings are of users or items"):
        scores = model.evaluate(test, metrics="recall", unknown="mean", filter_seen=False)
    assert scores["n_users"] == 1
    with pytest.raises(ValueError, match="`metrics` must be of"):
        model.evaluate(test, metrics="accuracy")
    with pytest.raises(ValueError, match="no rating of a known user"):
        model.evaluate((["x"], ["y"], [1.0]), unknown="nan")


# early stopping


@pytest.mark.parametrize("metric", ["rmse", "mae", "auc", "recall@3"])
def test_early_stopping_ends_with_the_best_iteration(metric):
    data, test = triplets(), triplets(seed=4)
    kind = explicit if metric in ("rmse", "mae") else implicit
    states = []
    model = kind(reg=1e-3, stop=Stop(max_iter=60, gtol=0, ftol=0)).fit(
        tuple(np.abs(column) if column.dtype.kind == "f" else column for column in data),
        validation=test, metric=metric, patience=4, callback=states.append,
    )  # fmt: skip
    scores = model.validation_scores
    best = int(np.argmin(scores) if metric in ("rmse", "mae") else np.argmax(scores))
    assert len(scores) == len(states) == best + 1 + 4
    np.testing.assert_array_equal(model.model.right, states[best].X)
    if metric in ("rmse", "mae"):
        i = np.searchsorted(model.user_ids, test[0])
        j = np.searchsorted(model.item_ids, test[1])
        error = np.abs(test[2] - np.einsum("ik,ik->i", states[best].W[i], states[best].X[j]))
        power = 2 if metric == "rmse" else 1
        assert scores[best] == pytest.approx(np.mean(error**power) ** (1 / power))


def test_a_fit_that_ends_before_patience_does_goes_back_too():
    model = explicit(reg=1e-3, stop=Stop(max_iter=7, gtol=0, ftol=0))
    states = []
    model.fit(triplets(), validation=triplets(seed=4), patience=50, callback=states.append)
    best = int(np.argmin(model.validation_scores))
    assert best < 6
    np.testing.assert_array_equal(model.model.right, states[best].X)


def test_a_share_of_the_ratings_is_held_out():
    data = triplets()
    states = []
    model = explicit().fit(data, validation=0.2, callback=states.append)
    assert model.n_ratings == data[0].size  # of the users, who have them all the same
    best = states[int(np.argmin(model.validation_scores))]
    np.testing.assert_array_equal(model.model.right, best.X)
    np.testing.assert_array_equal(model.model.left, model.fold_in(data).model.left)
    assert model.model.n_iter == len(states)
    for user, (found, _) in zip(model.user_ids, model.recommend(n=N), strict=True):
        assert not set(found) & set(data[1][data[0] == user])
    with pytest.raises(ValueError, match="`metric` must be"):
        explicit().fit(data, validation=0.2, metric="ndcg")


def test_early_stopping_and_a_callback_that_stops():
    seen = []

    def stop_at_five(state):
        seen.append(state)
        if len(seen) == 5:
            raise StopIteration

    model = explicit(reg=1e-3, stop=Stop(max_iter=60, gtol=0, ftol=0))
    model.fit(triplets(), validation=triplets(seed=4), patience=50, callback=stop_at_five)
    best = int(np.argmin(model.validation_scores))
    assert best < len(model.validation_scores) - 1 == 4
    np.testing.assert_array_equal(model.model.right, seen[best].X)


def test_a_validation_that_says_nothing():
    lenient = explicit(unknown="mean")
    with pytest.raises(ValueError, match="`validation` has no rating of a known user"):
        lenient.fit(triplets(), validation=(["x"], ["y"], [1.0]))
    with pytest.raises(ValueError, match="`validation` has no rating of a known user"):
        explicit().fit((["a", "b"], ["x", "y"], [1.0, 2.0]), validation=0.1)


# files


@pytest.mark.parametrize("given", [{}, {"reg": (0.1, 0.2), "unknown": "mean"}])
def test_save_and_load(tmp_path, given):
    path = tmp_path / "model.npz"
    for model in (
        explicit(**given).fit((*triplets(), np.ones(triplets()[0].size))),
        implicit(**({"popularity": 0.5, "activity": 0.5} | given)).fit(triplets(counts=True)),
    ):
        model.save(path)
        loaded = Recommender.load(path)
        same_answers(model, loaded)
        assert repr(loaded) == repr(model)
        assert loaded.reg == model.reg
        new = (["zoe"], ["i003"], [4.0])
        same_answers(model.partial_fit(new), loaded.partial_fit(new))
        assert model.explain("zoe", "i001").score == loaded.explain("zoe", "i001").score


def test_files_of_another_kind(tmp_path):  # R67
    path = tmp_path / "model.npz"
    model = explicit().fit(triplets())
    with pytest.raises(NotFittedError):  # R70
        explicit().save(path)
    model.save(path)
    with pytest.raises(wlrmf.ModelFormatError, match="wlrmf-recommender"):
        wlrmf.load(path)
    model.model.save(path)
    with pytest.raises(wlrmf.ModelFormatError, match="wlrmf-model"):
        Recommender.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda a, h: a.pop("users"),
        lambda a, h: a.update(users=a["users"][:-1]),
        lambda a, h: a.update(users=np.repeat(a["users"][:1], M)),
        lambda a, h: a.update(items=np.ones(N)),
        lambda a, h: a["indices"].__setitem__(0, N),
        lambda a, h: a["indices"].__setitem__(slice(0, 2), a["indices"][1::-1].copy()),
        lambda a, h: a.update(values=a["values"][:-1]),
        lambda a, h: a.update(values=a["values"].astype(str)),
        lambda a, h: h.pop("model"),
        lambda a, h: h["settings"].pop("rank"),
        lambda a, h: h["settings"].update(feedback="loud"),
        lambda a, h: h.update(settings=7),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, change):
    from wlrmf import archive

    path = tmp_path / "model.npz"
    explicit().fit(triplets()).save(path)
    arrays, header = archive.read(path, schema="wlrmf-recommender")
    change(arrays, header)
    archive.write(path, arrays, header, schema="wlrmf-recommender")
    with pytest.raises(wlrmf.ModelFormatError, match="its parts do not make a model"):
        Recommender.load(path)


# mistakes


def test_before_a_fit():  # R50
    model = explicit()
    for ask in (
        lambda: model.predict("u", "i"),
        model.recommend,
        lambda: model.explain("u", "i"),
        lambda: model.partial_fit(triplets()),
        lambda: model.fold_in(triplets()),
        lambda: model.evaluate(triplets()),
        lambda: model.model,
        lambda: model.user_ids,
    ):
        with pytest.raises(NotFittedError, match="call `fit` first"):
            ask()
    assert "not fitted" in repr(model)


def test_a_failed_fit_keeps_the_earlier_one():  # R52
    model = explicit().fit(triplets())
    before = model.model
    with pytest.raises(DataFileError):
        model.fit((["a"], ["b"], [np.nan]))
    assert model.model is before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feedback": "both"}, r'`feedback` must be "explicit" or "implicit"'),
        ({"unknown": "skip"}, "`unknown` must be one of"),
        ({"alpha": -1}, "`alpha` must be a finite number"),
        ({"popularity": np.nan}, "`popularity` must be a finite number"),
        ({"activity": -0.1}, "`activity` must be a finite number"),
        ({"baseline": np.inf}, "`baseline` must be a finite number"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        explicit(**settings)


def test_exchanged_users_and_items_are_recognised():
    model = explicit().fit(triplets())
    users, items, values = triplets()
    with pytest.raises(ValueError, match=r"They are item ids: are users and items exchanged\?"):
        model.predict(items, users)
    with pytest.raises(ValueError, match="They are item ids"):
        model.recommend("i003")
    with pytest.raises(ValueError, match="are users and items exchanged"):
        model.evaluate((items, users, values))
    with pytest.raises(ValueError, match="They are user ids"):
        model.fold_in((items, users, values))
    by_number = explicit().fit(matrix(triplets()))
    with pytest.raises(ValueError, match=r"must have 17 columns.*Is it transposed\? Try data.T"):
        by_number.fold_in(matrix(triplets()).T)
    with pytest.raises(ValueError, match="`user` must be the ids of the rows"):
        by_number.partial_fit(matrix(triplets()))


def test_ratings_where_confidences_are_meant():
    users, items, _ = triplets()
    rng = np.random.default_rng(0)
    stars = rng.choice([1.0, 2, 3, 4, 5], users.size, p=[0.05, 0.1, 0.3, 0.35, 0.2])
    with pytest.warns(DataWarning, match="look like ratings on a scale from 1.0 to 5.0"):
        implicit().fit((users, items, stars))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        implicit().fit((users, items, rng.geometric(0.5, users.size).astype(float)))
        implicit().fit((users, items))
    with pytest.warns(DataWarning, match='all .* values are 1.0.*feedback="implicit"'):
        explicit().fit((users, items, np.ones(users.size)))
    with pytest.raises(ValueError, match="`value` must not be negative for implicit feedback"):
        implicit().fit((users, items, -stars))


def test_data_that_make_no_sense():
    users, items, values = triplets()
    with pytest.raises(ValueError, match="`value` must name the column of ratings"):
        explicit().fit((users, items))
    with pytest.raises(TypeError, match="got a dense array"):
        explicit().fit(np.ones((3, 4)))
    with pytest.raises(ValueError, match="got 5 parts"):
        explicit().fit((users,) * 5)
    with pytest.raises(DataFileError, match="wants vectors of one length"):
        explicit().fit((users[1:], items, values))
    with pytest.raises(TypeError, match="`user` must be the name of a column"):
        explicit().fit({"user": users, "item": items}, user=3, value="item")
    with pytest.raises(ValueError, match="`user` must not hold an id twice"):
        explicit().fit(matrix(triplets()), user=["a"] * M)
    with pytest.raises(ValueError, match="`item` must be the 17 ids"):
        explicit().fit(matrix(triplets()), item=["a", "b"])
    with pytest.raises(ValueError, match="`duplicates` must be one of"):
        explicit(duplicates="first").fit(triplets())


# ids and cells of odd kinds


def test_wide_sparse_matrices_with_duplicates():
    """Cell numbers beyond int32 must not wrap."""
    cells = ([1.0, 2.0, 3.0, 4.0], ([0, 65536, 5, 5], [7, 7, 1, 1]))
    data = sp.coo_array(cells, shape=(70000, 65536))
    given = {"duplicates": "sum"}
    ratings = read_ratings(data, None, None, None, None, **given).values
    assert ratings.nnz == 3
    assert [float(ratings[i, j]) for i, j in ((0, 7), (65536, 7), (5, 1))] == [1, 2, 7]


def test_malformed_sparse_matrices_are_refused_before_they_are_read():  # R35
    data = sp.csr_array(np.eye(3))
    data.indptr = np.array([0, 10**6, 0, 3], data.indptr.dtype)
    for policy in ("error", "sum"):
        with pytest.raises(ValueError, match="malformed indptr"):
            explicit(duplicates=policy).fit(data)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint16])
def test_ids_of_narrow_types_do_not_wrap(dtype):
    users = np.repeat(np.arange(1, 5, dtype=dtype), 3)
    model = explicit(rank=1).fit((users, np.tile(["a", "b", "c"], 4), np.arange(12.0)))
    for other in (257, 2**16 + 1, -255, 2**63 + 1, 2**70):
        with pytest.raises(ValueError, match="unknown user id"):
            model.predict(other, "a")
    assert model.predict(np.array([1], np.uint64), "a") == model.predict(1, "a")


def test_large_ids_beside_missing_ones_keep_their_digits():
    pandas = pytest.importorskip("pandas", reason="pandas is absent")
    ids = [2**60, 2**60 + 1, 2**60 + 2]
    model = explicit(rank=1).fit((ids, ["a", "b", "a"], [1.0, 2.0, 3.0]))
    second = model.predict(2**60 + 1, "a")
    for asked in ([2**60 + 1, None], pandas.Series([2**60 + 1, None], dtype="Int64")):
        found = model.predict(np.asarray(asked, object), "a", unknown="nan")
        assert found[0] == second
        assert np.isnan(found[1])
    masked = np.ma.array([2**60 + 1, 2**60], mask=[False, True])
    assert np.isnan(model.predict(masked, "a", unknown="nan")).tolist() == [False, True]
    with pytest.raises(TypeError, match="all integers or all texts"):
        model.predict(np.array([2**60, "a"], object), "a")


def test_signed_and_unsigned_ids_join():
    model = explicit(rank=1).fit((np.array([1, 2]), ["a", "b"], [1.0, 2.0]))
    model.partial_fit((np.array([9], np.uint64), ["a"], [3.0]))
    assert model.user_ids.dtype == np.int64
    model.partial_fit((np.array([2**63 + 9], np.uint64), ["a"], [3.0]))
    assert model.user_ids.tolist() == [1, 2, 9, 2**63 + 9]
    with pytest.raises(ValueError, match="fit no integer"):
        model.partial_fit((np.array([-1]), ["a"], [3.0]))
    with pytest.raises(TypeError, match="user ids are integers; got 'x'"):
        model.partial_fit((["x"], ["a"], [3.0]))


def test_a_csv_does_not_say_whether_7_is_a_text(csv):
    texts = csv("user,item,r\n1,a,1\n2,b,2\nx,a,3\n")
    model = explicit(rank=1, unknown="nan").fit(texts, value="r")
    numbers = csv("user,item,r\n2,a,1\n3,a,1\n")
    assert model.evaluate(numbers, value="r")["n_pairs"] == 1
    assert model.fold_in(numbers, value="r").n_ratings == 2
    model = explicit(rank=1, unknown="nan").fit(csv("user,item,r\n1,a,1\n2,b,2\n"), value="r")
    texts = csv("user,item,r\n1,a,1\nx,a,3\n")
    assert model.evaluate(texts, value="r")["n_pairs"] == 1
    with pytest.raises(TypeError, match="user ids are integers; got 'x'"):
        model.partial_fit(csv("user,item,r\nx,a,3\n"), value="r")


def test_a_sparse_matrix_without_ids_is_as_the_fit_has_it():
    data = matrix(triplets())
    numbered = explicit().fit(data, user=np.arange(1, M + 1), item=np.arange(1, N + 1))
    plain = explicit().fit(data)
    assert numbered.evaluate(data) == plain.evaluate(data)
    with pytest.raises(ValueError, match=r"must have 23 rows, .* Is it transposed\? Try test.T"):
        numbered.evaluate(data.T)


def test_a_weight_of_0_is_a_rating_that_is_missing():  # R26
    users, items, values = triplets()
    weights = np.ones(values.size)
    weights[::7] = 0
    kept = weights > 0
    for kind in (explicit, implicit):
        columns = (users, items, np.abs(values))
        weighted = kind().fit((*columns, weights))
        without = kind().fit(tuple(column[kept] for column in columns))
        same_answers(weighted, without)
        assert weighted.n_ratings == kept.sum()
        one = weighted.explain("u003", "i004")
        assert one.base == pytest.approx(without.explain("u003", "i004").base)


def test_masked_values_are_missing():  # R10
    users, items, values = triplets()
    masked = np.ma.array(values, mask=np.arange(values.size) == 4)
    with pytest.raises(DataFileError, match=r"'value' is missing .* in 1 rows"):
        explicit().fit((users, items, masked))


def test_lists_of_nobody():  # R53
    model = implicit().fit(triplets(counts=True))
    for lists in (
        model.recommend(["nobody"], unknown="nan"),
        model.recommend(["nobody"], unknown="zero", include=["i001"]),
        model.recommend([]),
    ):
        assert len(lists.found) == 0
    assert len(model.recommend(["nobody", None], unknown="nan")) == 2
    assert "nobody" in repr(model.recommend(["nobody", None], unknown="nan"))


def test_a_ridge_of_vectors_is_refused():
    with pytest.raises(TypeError, match=r"`reg\[0\]` must be a finite number"):
        explicit(reg=(np.ones(M), np.ones(N))).fit(triplets())


# what a newcomer does


def test_an_implicit_value_of_0_is_no_liking():
    users, items, counts = triplets(counts=True)
    counts[::5] = 0
    model = implicit(alpha=2, reg_scaling="count").fit((users, items, counts))
    R = matrix((users, items, counts + 1))
    target, weights = R.copy(), R.copy()
    target.data = (R.data > 1).astype(float)
    weights.data = 1 + 2 * (R.data - 1)
    given = {"rank": 3, "reg": 0.3, "reg_scaling": "count", "baseline": 1.0, "stop": FEW}
    wanted = wlrmf.fit(target, weights=weights, **given)
    np.testing.assert_allclose(model.model.reconstruct(), wanted.reconstruct(), atol=1e-9)


def test_settings_that_would_have_no_effect():
    for given in ({"alpha": 3}, {"baseline": 0.5}, {"popularity": 1}, {"activity": 1}):
        with pytest.raises(ValueError, match=r"` is for feedback=.implicit.; got"):
            explicit(**given)
    model = explicit().fit(triplets())
    model.rank = 7
    assert "rank 3" in repr(model)


def test_lists_judged_by_what_the_fit_has():
    data = triplets(counts=True)
    model = implicit().fit(data)
    with pytest.raises(ValueError, match="all ratings of `test` are in the fit"):
        model.evaluate(data[:2], metrics="ndcg")
    assert model.evaluate(data[:2], metrics="ndcg", filter_seen=False)["n_users"] == M
    mixed = triplets(seed=1)[:2]
    pairs = set(zip(*data[:2], strict=True))
    new = np.array([pair not in pairs for pair in zip(*mixed, strict=True)])
    given = {"metrics": ("recall", "auc"), "at": (3, 5)}
    with pytest.warns(DataWarning, match=f"{(~new).sum()} of {new.size} ratings are in the fit"):
        scores = model.evaluate(mixed, **given)
    assert scores == model.evaluate(tuple(column[new] for column in mixed), **given)


def test_a_metric_with_its_cut_off():
    model = implicit().fit(triplets(counts=True))
    test = triplets(seed=1)[:2]
    given = {"filter_seen": False}
    assert model.evaluate(test, metrics="ndcg@4", **given) == model.evaluate(
        test, metrics="ndcg", at=4, **given
    )
    with pytest.raises((TypeError, ValueError), match="`at` must be an int"):
        model.evaluate(test, metrics="ndcg@ten", **given)


def test_early_stopping_says_so():
    model = explicit(reg=1e-3, stop=Stop(max_iter=60, gtol=0, ftol=0))
    model.fit(triplets(), validation=triplets(seed=4), patience=2)
    assert model.model.status is wlrmf.Status.VALIDATION
    assert model.model.success
    with pytest.raises(ValueError, match="`validation` must be above 0 and below 1"):
        explicit().fit(triplets(), validation=1.0)


@pytest.mark.parametrize("ending", ["npz", "mtx"])
def test_files_of_sparse_matrices(tmp_path, ending):
    from scipy import io as scipy_io

    data = matrix(triplets())
    path = tmp_path / f"ratings.{ending}"
    sp.save_npz(path, data) if ending == "npz" else scipy_io.mmwrite(path, data.tocoo())
    same_answers(explicit().fit(path), explicit().fit(data))
    named = explicit().fit(path, user=names("u", M), item=names("i", N))
    assert named.user_ids[2] == "u002"


def test_answers_that_are_asked_for_in_a_wrong_way():
    model = explicit().fit(triplets())
    lists = model.recommend(["u001", "u002"], 3)
    with pytest.raises(TypeError, match="lists go by number, in the order of `asked`; got 'u001'"):
        lists["u001"]
    assert set(model.recommend("u001", N, exclude={"i001", "i002"}).found) == set(
        model.recommend("u001", N, exclude=["i002", "i001"]).found
    )
    with pytest.raises(ValueError, match="are users and items exchanged"):
        model.similar_items("u003")
    with pytest.raises(ValueError, match=r"such as 'u000'$"):
        model.explain("nobody", "i001")
    with pytest.raises(ValueError, match="`value` must name the column of ratings; rmse compares"):
        model.evaluate(triplets()[:2])
    with pytest.raises(ValueError, match="must be columns of their own"):
        explicit().fit({"user": [1], "item": [2]}, value="item")
    with pytest.raises(DataFileError, match="column 'value': data row 2 is inf"):
        explicit().fit((["a", "b"], ["x", "y"], [1.0, np.inf]))
