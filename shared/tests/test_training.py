"""Training runs, as processes of their own: killed, continued, on two processes, with NaNs.

The processes are forked from one that has imported Lightning (`packages/forkserver.py`), and those that do not wait
for each other run at once.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from tenfold.checkpoint import load_lightning_weights

PACKAGES = Path(__file__).parent / "packages"


class Server:
    """Runs commands of the toy paper; `root` is the folder that holds the runs."""

    def __init__(self, root: Path):
        self.root = root
        path = os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path, "TENFOLD_RUNS": "runs", "OMP_NUM_THREADS": "1"}
        env.pop("TENFOLD_DATA", None)
        self.process = subprocess.Popen(
            [sys.executable, PACKAGES / "forkserver.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=root,
        )
        self.jobs = 0

    def run(self, *jobs: tuple[str, dict[str, str]]) -> list[tuple[int, str]]:
        """Exit status and output of each (command line, environment); all run at once."""
        outs = []
        for _ in jobs:
            self.jobs += 1
            outs.append(self.root / f"out-{self.jobs}.txt")
        message = [
            {"argv": line.split(), "env": env, "out": str(out)} for (line, env), out in zip(jobs, outs)
        ]
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        statuses = json.loads(self.process.stdout.readline())
        return [(status, out.read_text()) for status, out in zip(statuses, outs)]

    def one(self, line: str, **env: str) -> str:
        """The output of one command that must succeed."""
        ((status, output),) = self.run((line, env))
        assert status == 0, output
        return output

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("training"))
    assert server.process.stdout
    assert server.process.stdout.readline() == "ready\n"
    yield server
    server.close()


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return load_lightning_weights(run / "checkpoints" / f"{which}.ckpt")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# name -> options; four batches an epoch, five epochs
KINDS = {
    "plain": "",
    "workers": "--data.init_args.workers 2",
    "stepwise": "--model toypaper.module.TwoRates --trainer.val_check_interval 2 --trainer.max_steps 18",
    "seldom": "--trainer.check_val_every_n_epoch 2 --trainer.accumulate_grad_batches 3",
}
# Steps in which the run is killed: in the middle of an epoch, in its last step, in the first step after a checkpoint.
KILLS = {"plain": (9, 15), "workers": (10,), "stepwise": (8, 14), "seldom": (5,)}


@pytest.fixture(scope="module")
def finished(server: Server) -> dict[str, Path]:
    """Runs that were never killed."""
    lines = [(f"fit --config smoke {options} --run_dir whole/{kind}", {}) for kind, options in KINDS.items()]
    for status, output in server.run(*lines):
        assert status == 0, output
    return {kind: server.root / "whole" / kind for kind in KINDS}


@pytest.fixture(scope="module")
def resumed(server: Server) -> dict[str, Path]:
    """The same runs, killed with SIGKILL (some twice) and continued."""
    runs = {kind: server.root / "killed" / kind for kind in KINDS}
    twice = [kind for kind in KINDS if len(KILLS[kind]) > 1]

    def launch(kinds: list[str], resume: bool, deaths: list[int | None]) -> None:
        jobs = []
        for kind, death in zip(kinds, deaths):
            options = "--ckpt_path last" if resume else KINDS[kind]
            env = {} if death is None else {"TOY_KILL_AT": str(death)}
            jobs.append((f"fit --config smoke {options} --run_dir killed/{kind}", env))
        for (status, output), death in zip(server.run(*jobs), deaths):
            assert status == (0 if death is None else -signal.SIGKILL), output

    launch(list(KINDS), False, [KILLS[kind][0] for kind in KINDS])
    for kind, run in runs.items():
        assert (run / "checkpoints" / "last.ckpt").exists(), f"{kind} was killed before its first checkpoint"
        if kind == "plain":  # rows of the epoch that is lost, and half a row
            with (run / "metrics.csv").open("a") as file:
                file.write("9,2,,0.5,,\n9,2,,0.")
    launch(list(KINDS), True, [KILLS[kind][1] if len(KILLS[kind]) > 1 else None for kind in KINDS])
    launch(twice, True, [None] * len(twice))
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_killed_and_continued_run_ends_like_one_never_killed(kind: str, finished, resumed):
    """Bit for bit: every row of metrics.csv, the last and the best weights, and the optimiser."""
    whole, killed = finished[kind], resumed[kind]
    assert len(metrics(whole)) > 10
    assert metrics(killed) == metrics(whole)
    assert same(weights(killed), weights(whole))
    assert same(weights(killed, "best"), weights(whole, "best"))
    ours, theirs = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (killed, whole)
    )
    assert (ours["epoch"], ours["global_step"]) == (theirs["epoch"], theirs["global_step"])
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    moments, expected = (c["optimizer_states"][0]["state"] for c in (ours, theirs))
    for index, state in expected.items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(moments[index][name]), torch.as_tensor(value)), (index, name)


@pytest.mark.slow
def test_runs_differ_where_they_should(finished):
    """The comparison above can fail: the kinds of runs have different metrics, and epochs different noise."""
    finals = {kind: metrics(run)[-1]["train/loss_epoch"] for kind, run in finished.items()}
    assert len(set(finals.values())) == len(finals)


@pytest.fixture(scope="module")
def distributed(server: Server) -> dict[str, tuple[int, str]]:
    """One process with batches of 16, and two with batches of 8, launched as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"TORCHELASTIC_RUN_ID": "toy", "GROUP_RANK": "0"}
    two = "fit --config plain --run_dir ddp/two --data.init_args.batch_size 8 --trainer.devices 2 --trainer.strategy ddp"
    jobs = [
        ("fit --config plain --run_dir ddp/one", {}),
        *((two, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)),
        ("fit --config plain --run_dir ddp/small --data.init_args.batch_size 8", {}),
    ]
    return dict(zip(("one", "rank 0", "rank 1", "small"), server.run(*jobs)))


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(server: Server, distributed):
    for status, output in distributed.values():
        assert status == 0, output
    one, two, small = (weights(server.root / "ddp" / name) for name in ("one", "two", "small"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-5)
    assert any((small[name] - value).abs().max() > 1e-3 for name, value in one.items()), "batches matter here"
    ends = [
        [row["val/loss"] for row in metrics(server.root / "ddp" / name) if row["val/loss"]]
        for name in ("one", "two")
    ]
    assert len(ends[0]) == 3
    assert [float(a) for a in ends[1]] == pytest.approx([float(a) for a in ends[0]], abs=1e-5)


@pytest.fixture(scope="module")
def bad(server: Server) -> dict[str, tuple[int, str]]:
    """Commands that must fail while they run."""
    lines = {
        "loss": "fit --config smoke --model.init_args.explode loss",
        "gradient": "fit --config smoke --model.init_args.explode gradient",
        "input": "fit --config smoke --data.init_args.poison true",
        "no cuda": "fit --config smoke --trainer.accelerator cuda",
        "nothing to compile": "fit --config smoke --model toypaper.module.WithoutNetwork --compile",
        "wrong option": "fit --config smoke --model.init_args.depth 3",
        "run in the way": "fit --config smoke --run_dir whole/plain",
    }
    return dict(zip(lines, server.run(*((line, {"TENFOLD_RUNS": "bad"}) for line in lines.values()))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "loss",
            "the loss is inf at step 2 (epoch 0, batch 2); not finite in the input: nothing; in the parameters",
        ),
        ("gradient", "the gradient of model.4.bias is not finite at step 2 (epoch 0, batch 2)"),
        ("input", "the loss is nan at step 0 (epoch 0, batch 0); not finite in the input: batch[0]; in the"),
        ("nothing to compile", "WithoutNetwork has none"),
        ("run in the way", "holds a run already; continue it with --ckpt_path last"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(case: str, message: str, finished, bad):
    status, output = bad[case]
    assert status == 1
    assert message in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_but_absent(finished, bad):
    status, output = bad["no cuda"]
    assert status == 1
    assert "--trainer.accelerator cuda asks for a GPU" in output
    assert "use --trainer.accelerator cpu" in output


@pytest.mark.slow
def test_unknown_option_is_an_error_of_the_command_line(finished, bad):
    status, output = bad["wrong option"]
    assert status == 2
    assert "depth" in output


@pytest.mark.slow
def test_the_life_of_a_run(server: Server):
    """fit with two presets, its directory, continue for longer, test, predict, validate, --print_config, --help."""
    first = server.one("fit --config smoke --config wide --trainer.max_epochs 2")
    (run,) = (server.root / "runs" / "toypaper" / "smoke+wide").iterdir()
    assert f"run directory runs/toypaper/smoke+wide/{run.name}" in first
    assert {path.name for path in run.iterdir()} == {"config.yaml", "metrics.csv", "checkpoints"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["width"] == 32
    assert weights(run)["0.weight"].shape == (32, 4)

    again, tested, predicted, validated, printed, helped, tracked = server.run(
        ("fit --config smoke --config wide --ckpt_path last --trainer.max_epochs 4", {}),
        ("test --config smoke --config wide --ckpt_path best", {}),
        ("predict --config smoke --config wide --ckpt_path best", {}),
        ("validate --config smoke --trainer.logger false", {}),
        ("fit --config smoke --config wide --print_config", {}),
        ("fit --help", {}),
        (
            "fit --config smoke --wandb --trainer.precision bf16-mixed --trainer.max_epochs 1 --run_dir wandb-run",
            {"WANDB_MODE": "offline"},
        ),
    )
    for status, output in (again, tested, predicted, validated, printed, helped, tracked):
        assert status == 0, output
    assert "wandb: offline; upload with: wandb sync wandb-run/wandb/*" in tracked[1]
    assert list((server.root / "wandb-run" / "wandb").glob("offline-run-*/*.wandb"))
    assert f"continuing runs/toypaper/smoke+wide/{run.name} from" in again[1]
    assert metrics(run)[-1]["epoch"] == "3"
    assert len([row for row in metrics(run) if row["val/acc"]]) == 4
    assert "test/acc" in metrics(run / "test")[0]
    assert list((server.root / "runs" / "toypaper" / "smoke").glob("*-validate/metrics.csv"))
    assert yaml.safe_load(printed[1])["model"]["init_args"]["width"] == 32
    for option in (
        "--compile",
        "--wandb",
        "--run_dir",
        "--trainer.max_epochs",
        "--ckpt_path",
        "usage: toypaper [options] fit",
    ):
        assert option in helped[1]
    assert len(list((server.root / "runs" / "toypaper" / "smoke+wide").iterdir())) == 1, (
        "no other run directory"
    )


@pytest.mark.slow
def test_the_first_step_comes_soon_after_the_import(server: Server, tmp_path: Path):
    """At most three seconds of CPU time; a forked process begins to count at zero. And `--compile` compiles."""
    lines = {name: f"fit --config smoke --trainer.fast_dev_run true {name}" for name in ("", "--compile")}
    jobs = [
        (
            line,
            {"TOY_CLOCK": str(tmp_path / f"clock{name}"), "TENFOLD_RUNS": "dev", "TORCHDYNAMO_DISABLE": "1"},
        )
        for name, line in lines.items()
    ]
    for status, output in server.run(*jobs):
        assert status == 0, output
    seconds, compiled = (tmp_path / "clock").read_text().split()
    assert 0 < float(seconds) < 3
    assert compiled == "False"
    assert (tmp_path / "clock--compile").read_text().split()[1] == "True"
    assert not (server.root / "dev").exists(), "fast_dev_run leaves nothing behind"


@pytest.mark.slow
def test_a_checkpoint_that_would_execute_code_is_refused(server: Server, finished, tmp_path: Path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    good = finished["plain"] / "checkpoints" / "last.ckpt"
    evil, broken = tmp_path / "evil.ckpt", tmp_path / "broken.ckpt"
    torch.save({**torch.load(good, weights_only=True), "extra": Evil()}, evil)
    broken.write_bytes(good.read_bytes()[:5000])
    jobs = [
        (f"{what} --config smoke --ckpt_path {path}", {})
        for what in ("fit", "test")
        for path in (evil, broken)
    ]
    for status, output in server.run(*jobs):
        assert status == 1
        assert "cannot be read with weights_only=True" in output
    assert not (tmp_path / "executed").exists()
