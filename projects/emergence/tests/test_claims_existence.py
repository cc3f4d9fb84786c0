"""C1: its conditions hold on the zoo and fail where they should; blocks of networks run on small sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tenfold.data
from emergence.claims import existence as c1
from emergence.claims.corpora import Corpus
from emergence.claims.network_blocks import judge_turn, random_blocks, trained_turns
from emergence.claims.training import Effort
from emergence.models.tiny_gpt import TinyGPT
from emergence.operators import operator_zoo
from tenfold.claims import Scale
from tenfold.data import DataNotFoundError


def test_smoke_holds_with_its_table_and_pictures() -> None:
    found = c1.existence(Scale.SMOKE, 0)
    assert found.passed
    assert found.ours == 1.0
    assert len(found.tables[0].rows) == len(operator_zoo())
    assert [figure.name for figure in found.figures] == ["operators", "compositions"]


def test_a_wrong_label_is_noticed() -> None:
    zoo = {entry.name: entry for entry in operator_zoo()}
    report = c1.judge(zoo["0.9 Q"])
    assert c1.correct(zoo["0.9 Q"], report)
    assert not c1.correct(replace(zoo["0.9 Q"], regime="critical"), report)
    assert not c1.correct(replace(zoo["0.9 Q"], lip=2.0), report)
    assert not c1.rate_correct(replace(zoo["0.9 Q"], rho=0.88), report)


def test_random_blocks_are_judged_from_two_halves() -> None:
    reports, conditions = random_blocks(0, n_tokens=4, styles=("pre",))
    assert len(reports) == 2
    assert list(conditions) == ["rho_from_two_halves_of_the_starts_within_0.02"]


def test_turns_of_trained_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.arange(4000) * 7 % 256
    monkeypatch.setattr(
        "emergence.claims.network_blocks.python_sources", lambda: Corpus("count", tokens, tokens, 256)
    )
    effort = Effort(2, ctx=32, batch_size=4, rates=(1e-3,), warmup=1)
    reports, conditions = trained_turns(0, torch.device("cpu"), effort, d=16, heads=2)
    assert all(conditions.values())  # certified: true whatever was trained
    assert set(reports) == {"trained loop, certified", "trained loop, unconstrained"}
    assert not reports["trained loop, certified"].trivial_limit


def test_a_turn_is_that_of_a_loop() -> None:
    with pytest.raises(TypeError, match="must be a LoopedGPT, got TinyGPT"):
        judge_turn(TinyGPT(16, 8, 8, 2, 1), torch.zeros(16, 4, dtype=torch.long))


def test_paper_scale_names_the_folder_it_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenfold.data, "root", lambda: tmp_path)
    with pytest.raises(DataNotFoundError, match="hugging-face holds no checkpoint"):
        c1.checkpoints()


def test_a_checkpoint_is_judged_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=64, **sizes))
    model.save_pretrained(tmp_path / "hugging-face" / "tiny")
    monkeypatch.setattr(tenfold.data, "root", lambda: tmp_path)
    found = c1.checkpoints()
    assert [row[0] for row in found.tables[0].rows] == [
        f"tiny, {n} block" for n in ("first", "middle", "last")
    ]
