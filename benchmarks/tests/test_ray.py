"""`--launcher ray` on a real cluster of two nodes on this machine, one of which is lost in the middle."""

import os
import time

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray.*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and log files
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CLAIMS = """
def note(text):
    with open(os.environ["TOYS_LOG"], "a") as file:
        file.write(text + "\\n")

@claim("T1", "Sleeps", source="s")
def t1(scale, seed):
    import ray
    node = ray.get_runtime_context().get_node_id()
    note(f"start {seed} {node}")
    time.sleep(1.5)
    return Measurement("seed", seed, "always", True)

@claim("T2", "Raises", source="s", scales=("smoke",))
def t2(scale, seed):
    raise RuntimeError("out of luck")

@claim("T3", "Needs many", source="s", scales=("gpu",))
def t3(scale, seed):
    return Measurement("seed", seed, "always", True)
"""


@pytest.fixture
def cluster(toys, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(toys.folder))  # the nodes have the papers installed
    monkeypatch.setenv("TOYS_LOG", str(toys.folder / "log.txt"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    two_nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield two_nodes
    two_nodes.shutdown()


def starts(toys) -> list[list[str]]:
    log = toys.folder / "log.txt"
    return [line.split()[1:] for line in log.read_text().splitlines()] if log.exists() else []


def test_the_work_of_a_lost_node_is_done_by_the_other(toys, cluster):
    toys.paper("toy", CLAIMS)
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    options = ("--launcher", "ray", "--ray-address", cluster.address)
    process = toys.start("toy", "--seeds", "4", *options)
    deadline = time.monotonic() + 40
    while len({node for _, node in starts(toys)}) < 2:
        assert time.monotonic() < deadline, "the nodes did not both begin to work"
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    cluster.remove_node(second, allow_graceful=False)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert [toys.record("toy", "T1", seed)["ours"] for seed in range(4)] == list(range(4))
    assert len(starts(toys)) > 4  # what ran on the lost node ran again
    assert [toys.record("toy", "T2", seed)["error"] for seed in range(4)] == ["RuntimeError: out of luck"] * 4
    assert not list(toys.results.rglob("*.tmp"))

    again = toys.reproduce("toy", "--claim", "T1", "--seeds", "4", *options)
    assert "4 of 4 results were there already" in again.stdout

    starved = toys.reproduce("toy", "--claim", "T3", "--scale", "gpu", *options)
    assert starved.returncode == 2
    assert "needs 1 CPUs and 1 GPUs on one node; the cluster has 1 CPUs, 0 GPUs" in starved.stderr


def test_a_cluster_that_is_not_there_is_named(toys):
    toys.paper("toy", CLAIMS)
    os.environ.pop("RAY_ADDRESS", None)
    done = toys.reproduce("toy", "--claim", "T1", "--launcher", "ray", "--ray-address", "auto")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "--ray-address auto: cannot reach a Ray cluster there" in done.stderr
