"""`GMapLatent` as a whole: bijective, cluster-exact, reversible, and clear about what it cannot do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gmaplatent.alignment import ClusterGraphMismatch, GMapLatent


def blobs(n_clusters, seed=0, sizes=40, dim=2):
    rng = np.random.default_rng(seed)
    counts = np.full(n_clusters, sizes) if np.isscalar(sizes) else np.array(sizes)
    labels = np.repeat(np.arange(n_clusters), counts)
    shape = rng.normal(size=(n_clusters, dim, dim))
    points = 4 * rng.normal(size=(n_clusters, dim))[labels]
    return points + 0.4 * np.einsum("nij,nj->ni", shape[labels], rng.normal(size=points.shape)), labels


def fitted(n_clusters=3, seed=0, **options):
    sizes = options.pop("sizes", 40)
    return GMapLatent(**options).fit(*blobs(n_clusters, seed, sizes), *blobs(n_clusters, seed + 1000, sizes))


def slots_of(model, labels):
    return np.argsort(model.classes_src_)[labels]


def require_exact(model, codes, labels):
    """No flips, exact areas and masses, clusters in their cells, and the way back."""
    report = model.report()
    for side in ("src", "tgt"):
        assert report[side]["flips"] == 0
        assert report[side]["area_error"] <= 1e-9
        assert not report[side]["mass_error"] > 1e-6
        assert report[side]["max_distortion"] < 1
    uv, slots = model.to_canonical(codes, labels), slots_of(model, labels)
    found, least = model.src_.slot_of(uv)
    assert np.array_equal(found, slots)
    assert least.min() > -1e-9
    there = model.registration_.forward(uv, slots)
    assert np.abs(model.registration_.backward(there, slots) - uv).max() <= 1e-9


# --- exactness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_clusters", [1, 2, 3, 5, 10, 15])
def test_hierarchical_merging_is_exact(n_clusters):
    codes, labels = blobs(n_clusters)
    model = GMapLatent(merge="hierarchical").fit(codes, labels, *blobs(n_clusters, 7))
    require_exact(model, codes, labels)


@pytest.mark.parametrize("merge", ["global", "assignment"])
@pytest.mark.parametrize("n_clusters", [1, 2, 3])
def test_other_merges_are_exact_where_the_interfaces_agree(n_clusters, merge):
    codes, labels = blobs(n_clusters)
    require_exact(GMapLatent(merge=merge).fit(codes, labels, *blobs(n_clusters, 7)), codes, labels)


@pytest.mark.parametrize("seed", range(6))
def test_any_draw_is_exact_even_with_clusters_of_very_different_size(seed):
    n_clusters = 3 + seed % 3
    sizes = np.random.default_rng(seed).integers(10, 101, n_clusters)
    codes, labels = blobs(n_clusters, seed, sizes)
    model = GMapLatent(mass="equal" if seed % 2 else "sample").fit(
        codes, labels, *blobs(n_clusters, seed + 50, sizes)
    )
    require_exact(model, codes, labels)


@pytest.mark.parametrize(
    "options",
    [{"weights": w} for w in ("delaunay", "mean_value", "uniform")]
    + [
        {"interface": "sliding"},
        {"canonical": "polygon"},
        {"canonical": "own", "mass": "sample"},
    ],
)
def test_every_option_is_exact(options):
    codes, labels = blobs(5, 3, [20, 30, 40, 50, 60])
    model = GMapLatent(**options).fit(codes, labels, *blobs(5, 77, [60, 50, 40, 30, 20]))
    require_exact(model, codes, labels)
    identity = options.get("canonical") != "own"
    assert (model.report()["registration"] == "identity") == identity


def test_every_code_lands_in_its_cluster_and_comes_back_to_its_place():
    codes, labels = blobs(5)
    target, target_labels = blobs(5, 9)
    model = GMapLatent().fit(codes, labels, target, target_labels)
    moved = model.transform(codes, labels)
    hull = [target[target_labels == k] for k in range(5)]
    for k in range(5):
        own = moved[labels == k]
        assert (own >= hull[k].min(0) - 1e-9).all()
        assert (own <= hull[k].max(0) + 1e-9).all()
    assert (model.predict(moved, "tgt") == labels).mean() > 0.95
    again = model.to_canonical(target, target_labels, "tgt")
    assert np.allclose(model.from_canonical(again, "tgt"), target, atol=1e-9)


def test_the_two_domains_may_have_other_dimensions_and_labels():
    (codes, labels), (target, other) = blobs(3, dim=2), blobs(3, 5, dim=4)
    names = np.array(["ant", "bee", "cat"])[other]
    partner = {0: "bee", 1: "cat", 2: "ant"}
    model = GMapLatent(layout="pca").fit(codes, labels, target, names, partner)
    moved = model.transform(codes, labels)
    assert moved.shape == (len(codes), 4)
    wanted = np.array([partner[k] for k in labels.tolist()])
    assert (model.predict(moved, "tgt") == wanted).mean() > 0.95
    back = model.transform(target, names, "tgt->src")
    assert back.shape == (len(target), 2)


def test_moving_a_domain_about_does_not_change_its_canonical_coordinates():
    (codes, labels), target = blobs(4), blobs(4, 8)
    turn = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])
    plain = GMapLatent(merge="hierarchical").fit(*target, codes, labels)
    other = GMapLatent(merge="hierarchical").fit(*target, 3 * codes + [5, -1], labels)
    same = [m.to_canonical(c, labels, "tgt") for m, c in ((plain, codes), (other, 3 * codes + [5, -1]))]
    assert np.allclose(*same, atol=1e-6)
    turned = GMapLatent(merge="hierarchical").fit(*target, codes @ turn.T, labels)
    report = turned.report()["tgt"]
    assert report["flips"] == 0


def test_the_order_of_the_samples_does_not_matter():
    (codes, labels), target = blobs(3), blobs(3, 8)
    order = np.random.default_rng(0).permutation(len(codes))
    plain = GMapLatent().fit(codes, labels, *target).to_canonical(codes, labels)
    mixed = GMapLatent().fit(codes[order], labels[order], *target).to_canonical(codes[order], labels[order])
    assert np.allclose(mixed, plain[order], atol=1e-6)


# --- methods -----------------------------------------------------------------------------------------------------------


def test_auto_says_why_it_does_not_take_global():
    chosen = {}
    for seed in range(8):
        model = fitted(5, seed)
        chosen[model.merge_] = model
        assert (model.merge_ == "global") == (model.merge_reason_ == "")
    assert "meet differently" in chosen["hierarchical"].merge_reason_
    assert chosen["hierarchical"].report()["same_graph"]


def test_global_is_refused_where_the_interfaces_differ():
    seed = next(s for s in range(8) if fitted(5, s).merge_ == "hierarchical")
    with pytest.raises(ClusterGraphMismatch, match="use merge='hierarchical' or 'auto'"):
        fitted(5, seed, merge="global")


def test_three_clusters_always_meet_alike():
    assert all(fitted(3, seed).merge_ == "global" for seed in range(4))


def test_landmarks_meet():
    (codes, labels), (target, others) = blobs(3), blobs(3, 4)
    model = GMapLatent(max_per_cluster=None).fit(codes, labels, target, others)
    uv, goals = model.src_.code_uv, model.tgt_.code_uv
    pairs = []
    for k in range(3):
        ours, theirs = np.flatnonzero(labels == k), np.flatnonzero(others == k)
        distance = np.linalg.norm(uv[ours][:, None] - goals[theirs], axis=-1)
        i, j = np.unravel_index(np.abs(distance - 0.1).argmin(), distance.shape)
        pairs.append((int(ours[i]), int(theirs[j])))
    rows, partners = np.array(pairs).T
    before = np.linalg.norm(model.transform(codes[rows], labels[rows]) - target[partners], axis=1)
    model.fit(codes, labels, target, others, landmarks=pairs)
    assert np.allclose(model.transform(codes[rows], labels[rows]), target[partners], atol=1e-6)
    assert before.min() > 1e-2
    assert model.report()["registration"] == "harmonic"


# --- new codes ---------------------------------------------------------------------------------------------------------


def test_new_codes_without_labels():
    codes, labels = blobs(4)
    model = GMapLatent().fit(codes, labels, *blobs(4, 5))
    new = codes + 0.01
    assert (model.predict(new) == labels).mean() > 0.95
    assert np.isfinite(model.transform(new)).all()


def test_samples_cover_all_clusters_evenly_and_stay_in_one_if_asked():
    model = fitted(4)
    codes, labels = model.sample(4000, "src")
    assert np.bincount(labels, minlength=4) == pytest.approx(np.full(4, 1000), abs=150)
    assert (model.predict(codes, "src") == labels).mean() > 0.95
    assert set(model.sample(50, "tgt", cluster=2)[1].tolist()) == {2}
    assert np.array_equal(model.sample(5)[0], model.sample(5)[0])
    assert not np.array_equal(model.sample(5, random_state=1)[0], model.sample(5)[0])


def test_curves_change_cluster_once_and_do_not_jump_within():
    model = fitted(3)
    middle = [model.src_.code_uv[model.src_.slots == k].mean(0) for k in range(2)]
    s = np.linspace(0, 1, 200)[:, None]
    source, target, labels = model.map_curve((1 - s) * middle[0] + s * middle[1])
    assert (np.diff(labels) != 0).sum() == 1
    steps = np.linalg.norm(np.diff(target, axis=0), axis=1)
    border = int(np.flatnonzero(np.diff(labels))[0])
    assert np.delete(steps, border).max() < 0.2 * np.ptp(target, axis=0).max()
    assert source.shape == target.shape


def test_points_outside_the_disk_are_moved_to_its_edge_with_a_warning():
    model = fitted(3)
    with pytest.warns(UserWarning, match="1 points lie outside the canonical domain"):
        assert np.isfinite(model.from_canonical([[3.0, 0.0], [0.1, 0.1]])).all()


# --- estimator ---------------------------------------------------------------------------------------------------------


def test_a_saved_model_computes_the_same(tmp_path):
    codes, labels = blobs(4)
    names = np.array(["a", "b", "c", "d"])
    model = GMapLatent(margin=0.2).fit(codes, names[labels], *(lambda z, y: (z, names[y]))(*blobs(4, 5)))
    model.save(tmp_path / "deep" / "model.npz")
    again = GMapLatent.load(tmp_path / "deep" / "model.npz")
    assert again.get_params() == model.get_params()
    assert again.report() == model.report()
    assert np.array_equal(again.transform(codes), model.transform(codes))
    assert np.array_equal(
        again.transform(codes, direction="tgt->src"), model.transform(codes, direction="tgt->src")
    )
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["model.npz"]


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text.npz is not a file of GMapLatent.save"):
        GMapLatent.load(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz is not a file of GMapLatent.save"):
        GMapLatent.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="layout is a function, which a file without pickle cannot hold"):
        fitted(3, layout=lambda codes: codes).save(tmp_path / "model.npz")


def test_parameters_are_those_of_scikit_learn():
    model = GMapLatent(margin=0.3, merge="hierarchical")
    assert clone(model).get_params() == model.get_params()
    assert "margin=0.3" in repr(model)


@pytest.mark.parametrize("call", ["transform", "to_canonical", "predict", "from_canonical", "map_curve"])
def test_use_before_fit_is_an_error(call):
    with pytest.raises(NotFittedError):
        getattr(GMapLatent(), call)(np.zeros((2, 2)))
    with pytest.raises(NotFittedError):
        GMapLatent().report()


CODES, LABELS = blobs(3)


def changed(where, value):
    codes = CODES.copy()
    codes[where] = value
    return codes


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"codes_src": CODES[:, 0]}, {}, r"codes_src must have shape \(n, d\)"),
        ({"codes_src": changed((5, 1), np.nan)}, {}, "codes_src must be finite; row 5 is not"),
        ({"labels_tgt": LABELS[:-1]}, {}, r"labels_tgt must have shape \(120,\)"),
        ({"labels_tgt": LABELS + 1}, {}, r"labels \[0, 3\] occur in one domain only; give correspondence"),
        ({"correspondence": {0: 0, 1: 1}}, {}, r"no partner for the source labels \[2\]"),
        ({"correspondence": {0: 0, 1: 0, 2: 1}}, {}, r"without a partner \[2\], named twice \[0\]"),
        ({"correspondence": {0: 0, 1: 1, 2: 9}}, {}, r"not in the target \[9\]"),
        (
            {"labels_src": np.where(np.arange(120) < 2, 0, LABELS.clip(1)), "codes_src": CODES},
            {},
            "cluster 0 has 2 points",
        ),
        (
            {"codes_tgt": np.where((LABELS == 1)[:, None], CODES[:, :1], CODES)},
            {},
            "layout of cluster 1 lies on one line",
        ),
        ({"landmarks": [[0, 119]]}, {}, "must pair codes of one cluster; pair 0 does not"),
        ({"landmarks": [[500, 0]]}, {}, r"source rows that are not in the mesh: \[500\]"),
        ({"landmarks": [0, 1]}, {}, r"landmarks must have shape \(l, 2\)"),
        ({}, {"merge": "best"}, "merge must be one of auto, global, hierarchical, assignment, got 'best'"),
        ({}, {"canonical": "star"}, "canonical must be one of disk, polygon, own, got 'star'"),
        (
            {},
            {"canonical": "own", "merge": "global"},
            "needs convex cells, that is merge='hierarchical', got 'global'",
        ),
        ({}, {"mass": "half"}, "mass must be one of equal, sample"),
        ({}, {"weights": "cot"}, "weights must be one of cotan, delaunay, mean_value, uniform"),
        ({}, {"interface": "glued"}, "interface must be one of pinned, sliding"),
        ({}, {"margin": -1}, "margin must be at least 0, got -1"),
        ({}, {"n_arc": 2}, "n_arc must be at least 3, got 2"),
        ({}, {"layout": "isomap"}, "layout must be one of auto"),
    ],
)
def test_fits_that_cannot_be_are_refused(arguments, options, message):
    given = {"codes_src": CODES, "labels_src": LABELS, "codes_tgt": CODES, "labels_tgt": LABELS}
    with pytest.raises(ValueError, match=message):
        GMapLatent(**options).fit(**{**given, **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m.transform(np.zeros((2, 3))),
            "must have the 2 dimensions of the codes that were fitted, got 3",
        ),
        (lambda m: m.transform([[np.inf, 0.0]]), "codes must be finite"),
        (lambda m: m.transform(CODES[:2], [0, 7]), r"labels has labels that were not fitted: \[7\]"),
        (lambda m: m.transform(CODES[:2], [0]), r"labels must have shape \(2,\)"),
        (
            lambda m: m.transform(CODES, direction="back"),
            "direction must be 'src->tgt' or 'tgt->src', got 'back'",
        ),
        (lambda m: m.to_canonical(CODES, domain="left"), "domain must be 'src' or 'tgt', got 'left'"),
        (lambda m: m.sample(3, cluster=9), r"cluster has labels that were not fitted: \[9\]"),
    ],
)
def test_uses_that_cannot_be_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted(3))


@pytest.mark.slow
def test_fifty_random_draws_are_exact():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        n_clusters = int(rng.integers(2, 11))
        sizes = rng.integers(10, 101, n_clusters)
        codes, labels = blobs(n_clusters, seed, sizes)
        model = GMapLatent().fit(codes, labels, *blobs(n_clusters, seed + 500, sizes))
        require_exact(model, codes, labels)
