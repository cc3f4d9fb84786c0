"""`tenfold reproduce` as a process: what it writes, resumes, survives and refuses."""

import json
import os

import pytest

from tenfold_benchmarks.reproduce import excused
from tenfold_benchmarks.results import REQUIRED

HOLDS = """
@claim("T1", "One is below two", source="section 1", published=1.5)
def t1(scale, seed):
    return Measurement("seconds", 1.0 + seed, "ours < baseline", True, baseline=9.0)
"""


def test_a_result_says_everything_about_itself(toys):
    png = "b'\\x89PNG' + b'0' * 10"
    toys.paper(
        "toy",
        f"""
        @claim("T1", "Says much", source="abstract", published=3.5, cpus=1)
        def t1(scale, seed):
            return Measurement(
                "error (%)", 1.5, "ours < baseline", True, baseline=None,
                values={{"loss": float("nan"), "steps": 3, "best": float("inf")}},
                figures=[Figure("curve", {png}, "Error against steps.")],
                tables=[Table("errors", ("n", "error"), ((1, 0.5), (2, float("-inf"))))],
            )
        """,
    )
    done = toys.reproduce("toy", "--seeds", "2", "--seed", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    record = toys.record("toy", "T1", seed=5)
    assert set(REQUIRED) <= set(record)
    expected = {
        "paper": "toy",
        "claim": "T1",
        "scale": "smoke",
        "seed": 5,
        "passed": True,
        "title": "Says much",
        "source": "abstract",
        "published": 3.5,
        "quantity": "error (%)",
        "ours": 1.5,
        "baseline": None,
        "values": {"loss": "nan", "steps": 3, "best": "inf"},
        "error": None,
        "device": "cpu",
        "command": "tenfold reproduce toy --claim T1 --scale smoke --seed 5",
        "tables": [{"name": "errors", "columns": ["n", "error"], "rows": [[1, 0.5], [2, "-inf"]]}],
        "figures": [{"name": "curve", "alt": "Error against steps.", "file": "T1-seed5-curve.png"}],
    }
    assert {key: record[key] for key in expected} == expected
    assert record["torch"]
    assert 5 < record["peak_memory_mb"] < 500
    assert (toys.results / "smoke/toy/T1-seed5-curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list(toys.results.rglob("*.tmp"))
    assert "1.5" in done.stdout


def test_a_broken_claim_is_recorded_and_the_others_go_on(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "Raises", source="s")
        def t1(scale, seed):
            raise RuntimeError("out of [luck]")

        @claim("T2", "Exits", source="s")
        def t2(scale, seed):
            sys.exit("bye")

        @claim("T3", "Kills its process", source="s")
        def t3(scale, seed):
            print("last words")
            sys.stdout.flush()
            os.kill(os.getpid(), 9)

        @claim("T4", "Leaves without a word", source="s")
        def t4(scale, seed):
            os._exit(7)

        @claim("T5", "Returns no measurement", source="s")
        def t5(scale, seed):
            return 3.5

        @claim("T6", "Holds", source="s")
        def t6(scale, seed):
            print("chatter on standard output must not disturb the answers")
            return Measurement("n", 1, "always", True)
        """,
    )
    toys.paper("toy_broken", "raise ImportError('a library is missing')\n" + HOLDS)
    done = toys.reproduce("--workers", "1")
    assert done.returncode == 1, done.stderr
    errors = {claim: toys.record("toy", claim)["error"] for claim in ("T1", "T2", "T3", "T4", "T5")}
    assert errors["T1"] == "RuntimeError: out of [luck]"
    assert "in t1" in toys.record("toy", "T1")["traceback"]
    assert errors["T2"] == "SystemExit: bye"
    assert "SIGKILL" in errors["T3"]
    assert "last words" in toys.record("toy", "T3")["traceback"]
    assert "exit code 7" in errors["T4"]
    assert "must return a Measurement, got float" in errors["T5"]
    assert toys.record("toy", "T6")["passed"]
    assert "a library is missing" in toys.record("toy_broken", "T1")["error"]
    assert "out of [luck]" in done.stdout


@pytest.mark.parametrize(
    ("record", "fine"),
    [
        ({"passed": True, "error": None, "known_gap": None}, True),
        ({"passed": False, "error": None, "known_gap": None}, False),
        ({"passed": False, "error": None, "known_gap": "too short"}, True),
        ({"passed": False, "error": "ZeroDivisionError", "known_gap": "too short"}, False),
    ],
)
def test_only_a_measured_known_gap_is_excused(record, fine):
    assert excused(record) is fine


def test_a_known_gap_counts_at_its_scale_only(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "Fails", source="s", known_gaps={"smoke": "too short"})
        def t1(scale, seed):
            return Measurement("n", 1, "n > 1", False)
        """,
    )
    assert toys.reproduce("toy").returncode == 0
    assert toys.record("toy", "T1")["passed"] is False
    assert toys.record("toy", "T1")["known_gap"] == "too short"
    assert toys.reproduce("toy", "--scale", "cpu").returncode == 1


def test_what_is_there_is_kept_unless_forced(toys):
    toys.counting()
    assert toys.reproduce("toy", "--seeds", "2").returncode == 0
    again = toys.reproduce("toy", "--seeds", "3")
    assert toys.runs() == ["0", "1", "2"]
    assert "2 of 3 results were there already" in again.stdout
    toys.reproduce("toy", "--seed", "1", "--force")
    assert toys.runs() == ["0", "1", "1", "2"]


def test_errors_are_measured_again(toys):
    toys.counting(value="1 if os.path.exists('fixed') else 1 / 0")
    assert toys.reproduce("toy").returncode == 1
    (toys.folder / "fixed").touch()
    assert toys.reproduce("toy").returncode == 0
    assert toys.runs() == ["0", "0"]


def test_changed_code_makes_a_result_stale_and_a_comment_does_not(toys):
    toys.counting()
    toys.reproduce("toy")
    source = toys.folder / "toy/claims.py"
    source.write_text("# a comment\n" + source.read_text())
    assert "stale" not in toys.reproduce("toy").stdout
    assert toys.runs() == ["0"]
    toys.counting(value=2)
    done = toys.reproduce("toy")
    assert "stale  toy T1 seed 0" in done.stdout
    assert toys.runs() == ["0", "0"]
    assert toys.record("toy", "T1")["ours"] == 2


def test_damaged_results_are_measured_again(toys):
    toys.counting()
    folder = toys.results / "smoke/toy"
    folder.mkdir(parents=True)
    for seed, damage in enumerate(["", '{"paper": "to', "{}", "[1, 2]"]):
        (folder / f"T1-seed{seed}.json").write_text(damage)
    done = toys.reproduce("toy", "--seeds", "4")
    assert done.returncode == 0
    for seed in range(4):
        assert f"measuring toy T1 seed {seed} again" in done.stdout
        assert toys.record("toy", "T1", seed)["ours"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tyo"], "unknown paper 'tyo'. Did you mean toy? Known: toy"),
        (["toy", "--claim", "T9"], "unknown claim 'T9'. Did you mean T1? Known: T1"),
        (
            ["toy", "--scale", "smok"],
            "unknown scale 'smok'. Did you mean smoke? Known: smoke, cpu, gpu, paper",
        ),
        (["toy", "--scale", "gpu"], "nothing to measure at scale gpu; scales with claims: cpu, smoke"),
        (["toy", "--scale", "gpu", "--claim", "T1"], "claim T1 has no scale gpu; it has cpu, smoke"),
        (["toy", "--launcher", "slurm"], "unknown launcher 'slurm'. Known: local, ray"),
        (["toy", "--ray-address", "auto"], "--ray-address goes with --launcher ray"),
        (["toy", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["toy", "--workers", "0"], "Invalid value for '--workers'"),
        (["toy", "--seed", "-1"], "Invalid value for '--seed'"),
        (["toy", "--report", "nowhere/report.html"], "there is no folder"),
    ],
)
def test_bad_arguments_are_usage_errors(toys, here, arguments, message):
    toys.paper("toy", HOLDS.replace("published=1.5)", 'scales=("smoke", "cpu"))'))
    code, _, errors = here("reproduce", *arguments, "--results", str(toys.results))
    assert code == 2
    assert message in " ".join(errors.split())
    assert not toys.results.exists()


def test_a_results_folder_that_cannot_be_written_stops_before_any_work(toys):
    toys.counting()
    toys.results.write_text("a file, not a folder")
    done = toys.reproduce("toy")
    assert done.returncode == 2
    assert "cannot write to the results folder" in done.stderr
    assert "--results FOLDER" in done.stderr
    assert toys.runs() == []


def test_a_paper_that_cannot_be_read_does_not_stop_the_others(toys):
    toys.paper("toy", HOLDS)
    toys.paper("toy_typo", "def oops(:\n")
    done = toys.reproduce()
    assert done.returncode == 1
    assert "left out toy_typo" in done.stdout
    assert toys.record("toy", "T1")["passed"]
    named = toys.reproduce("toy_typo")
    assert named.returncode == 2
    assert "claims.py:3 is not valid Python" in named.stderr


def test_threads_are_those_of_the_claim(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "One thread", source="s")
        def t1(scale, seed):
            return Measurement("threads", int(os.environ["OMP_NUM_THREADS"]), "one", True)

        @claim("T2", "Two threads", source="s", cpus=2)
        def t2(scale, seed):
            return Measurement("threads", int(os.environ["OMP_NUM_THREADS"]), "two", True)
        """,
    )
    toys.reproduce("toy")
    assert [toys.record("toy", claim)["ours"] for claim in ("T1", "T2")] == [1, 2]


def test_the_peak_is_of_the_claim_and_not_of_the_one_before(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "Large", source="s")
        def t1(scale, seed):
            block = b"x" * (200 * 2**20)
            return Measurement("MB", len(block), "large", True)

        @claim("T2", "Small", source="s")
        def t2(scale, seed):
            return Measurement("pid", os.getpid(), "small", True)
        """,
    )
    toys.reproduce("toy", "--workers", "1")
    assert toys.record("toy", "T1")["peak_memory_mb"] > 200
    assert toys.record("toy", "T2")["peak_memory_mb"] < 100


def test_results_go_into_the_checkout_one_stands_in(toys, tmp_path):
    toys.paper("toy", HOLDS)
    workspace = tmp_path / "checkout"
    (workspace / "benchmarks").mkdir(parents=True)
    (workspace / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["benchmarks"]\n')
    (workspace / "deep").mkdir()
    toys.tenfold("reproduce", "toy", "--no-report", cwd=workspace / "deep")
    assert (workspace / "benchmarks/results/smoke/toy/T1-seed0.json").is_file()
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    toys.tenfold("reproduce", "toy", cwd=outside)
    assert (outside / "results/smoke/toy/T1-seed0.json").is_file()
    assert (outside / "report.html").is_file()


def test_torch_of_the_worker_gets_the_threads_of_each_claim(toys):
    """A stand-in for torch, so that the test needs no four seconds for the real one."""
    (toys.folder / "torch.py").write_text(
        "class cuda:\n    is_initialized = staticmethod(lambda: False)\nthreads = None\n"
        "def set_num_threads(n):\n    global threads\n    threads = n\n"
    )
    toys.paper(
        "toy",
        """
        import torch

        @claim("T1", "Three", source="s", cpus=3)
        def t1(scale, seed):
            return Measurement("threads", torch.threads, "three", True)

        @claim("T2", "One", source="s")
        def t2(scale, seed):
            return Measurement("threads", torch.threads, "one", True)
        """,
    )
    toys.reproduce("toy", "--workers", "1")
    assert [toys.record("toy", claim)["ours"] for claim in ("T1", "T2")] == [3, 1]


def test_every_result_is_valid_json_to_a_strict_reader(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "Not finite", source="s")
        def t1(scale, seed):
            return Measurement("loss", float("nan"), "finite", False, values={"x": float("inf")})
        """,
    )
    toys.reproduce("toy")

    def refuse(constant):
        raise ValueError(constant)

    text = (toys.results / "smoke/toy/T1-seed0.json").read_text()
    assert json.loads(text, parse_constant=refuse)["ours"] == "nan"
    assert os.listdir(toys.results / "smoke/toy/.locks") == ["T1-seed0.lock"]
