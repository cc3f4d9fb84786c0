"""Texts, windows, the corpus of sources, and the data modules."""

import os

import pytest
import torch

from emergence.data.module import BytesDataModule, CharDataModule, TaskDataModule
from emergence.data.python_source import build_python_corpus, load_python_corpus
from emergence.data.text import Vocabulary, load_tinyshakespeare, load_wikitext2, to_bytes
from emergence.data.windows import fixed_windows, random_windows
from emergence.tasks import IGNORED, TASKS
from tenfold.data import DataNotFoundError

# Texts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_tinyshakespeare():
    text = load_tinyshakespeare(os.environ["TENFOLD_DATA"])
    assert len(text) == 1_115_394
    assert Vocabulary(text).symbols == Vocabulary.of_tinyshakespeare().symbols
    assert len(Vocabulary(text)) == 65


@pytest.mark.realdata
@pytest.mark.parametrize("part", ["valid", "test"])
def test_wikitext(part):
    text = load_wikitext2(part, os.environ["TENFOLD_DATA"])
    assert "<unk>" in text
    assert text.lstrip().startswith("= ")


def test_missing_texts_are_named_with_their_source(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"tinyshakespeare/input.txt not found.*karpathy/char-rnn"):
        load_tinyshakespeare(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"wikitext-2/test.txt not found.*pytorch/examples"):
        load_wikitext2("test", tmp_path)
    with pytest.raises(ValueError, match="part must be one of 'valid', 'test', got 'train'"):
        load_wikitext2("train", tmp_path)
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("To be")
    with pytest.raises(ValueError, match="has 5 bytes, expected 1,115,394"):
        load_tinyshakespeare(tmp_path)


def test_characters_and_bytes_go_back_and_forth():
    text = "O, for a Muse of fire!\n"
    vocabulary = Vocabulary(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert bytes(to_bytes("Ωx").tolist()) == "Ωx".encode()
    with pytest.raises(ValueError, match="the character 'q' is not in the vocabulary"):
        vocabulary.encode("q")
    with pytest.raises(ValueError, match="text is empty"):
        Vocabulary("")


# Windows ----------------------------------------------------------------------------------------------------------------


def test_windows_are_pieces_and_targets_follow():
    tokens = torch.arange(1000)
    for inputs, targets in (random_windows(tokens, 16, 50), fixed_windows(tokens, 16, 20)):
        assert inputs.shape[1] == targets.shape[1] == 16
        assert (inputs.diff(dim=1) == 1).all()
        assert torch.equal(targets, inputs + 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_windows_of_compact_tokens_are_what_a_model_takes(dtype):
    inputs, targets = fixed_windows(torch.arange(200).to(dtype), 8, 5)
    assert inputs.dtype == targets.dtype == torch.long
    assert torch.equal(targets, inputs + 1)


def test_random_windows_follow_their_generator_and_reach_both_ends():
    tokens = torch.arange(20)
    one, two = (random_windows(tokens, 4, 500, torch.Generator().manual_seed(0))[0] for _ in range(2))
    assert torch.equal(one, two)
    assert (int(one.min()), int(one.max())) == (0, 18)  # 19 is a target only


def test_shifted_fixed_windows_are_disjoint_from_the_others():
    tokens = torch.arange(1000)
    here, between = (set(fixed_windows(tokens, 16, 20, shift)[0].flatten().tolist()) for shift in (0, 0.5))
    assert not here & between


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.arange(100), 0, 1), "ctx must be at least 1, got 0"),
        ((torch.arange(100), 4, 0), "count must be at least 1, got 0"),
        ((torch.arange(4), 4, 1), r"a row of at least ctx \+ 1 = 5 tokens, got shape \(4,\)"),
        ((torch.arange(100), 9, 11), "take at most 10"),
        ((torch.arange(100), 4, 2, 1.0), r"shift must lie in \[0, 1\), got 1.0"),
    ],
)
def test_bad_windows(arguments, message):
    with pytest.raises(ValueError, match=message):
        fixed_windows(*arguments)


# The corpus of sources --------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "sources" / "package"
    folder.mkdir(parents=True)
    for i in range(200):
        (folder / f"m{i:03}.py").write_text(f"value = {i}\n")
    (folder / "copy.py").write_text("value = 3\n")
    (folder / "notes.txt").write_text("not a source")
    return tmp_path / "sources"


def test_the_corpus_is_the_same_every_time_and_its_parts_do_not_overlap(sources, tmp_path):
    counts = build_python_corpus(tmp_path / "python-source", [sources])
    assert (counts["files"], counts["duplicates"]) == (200, 1)
    parts = {part: bytes(load_python_corpus(part, tmp_path).tolist()) for part in ("train", "val")}
    lines = {part: set(content.split(b"\n\n")) - {b""} for part, content in parts.items()}
    assert len(lines["train"]) + len(lines["val"]) == 200
    assert not lines["train"] & lines["val"]
    assert counts["train_bytes"] == len(parts["train"]) > counts["val_bytes"] > 0
    build_python_corpus(tmp_path / "again", [sources])
    for part in parts:
        assert (tmp_path / "again" / f"{part}.bin").read_bytes() == parts[part]


def test_the_corpus_stops_at_its_limit(sources, tmp_path):
    counts = build_python_corpus(tmp_path / "out", [sources], max_bytes=1500)
    assert counts["train_bytes"] + counts["val_bytes"] <= 1500


def test_bad_corpora(sources, tmp_path):
    with pytest.raises(ValueError, match="max_bytes must be at least 1, got 0"):
        build_python_corpus(tmp_path, [sources], 0)
    with pytest.raises(NotADirectoryError, match=r"folders names .*nowhere, which is not a folder"):
        build_python_corpus(tmp_path, [tmp_path / "nowhere"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no file for the part 'train' among 0"):
        build_python_corpus(tmp_path, [empty])
    with pytest.raises(DataNotFoundError, match="build it with `emergence data-pysrc --out"):
        load_python_corpus("train", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="part must be 'train' or 'val', got 'test'"):
        load_python_corpus("test", tmp_path)


# Data modules -----------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_characters():
    data = CharDataModule(batch_size=8, steps_per_epoch=3, root=os.environ["TENFOLD_DATA"])
    data.setup()
    torch.manual_seed(0)
    batches = list(data.train_dataloader())
    assert [tuple(part.shape) for part in batches[0]] == [(8, 32), (8, 32)]
    assert len(batches) == 3
    torch.manual_seed(0)
    assert torch.equal(next(iter(data.train_dataloader()))[0], batches[0][0])
    val, test = (torch.cat([x for x, _ in load()]) for load in (data.val_dataloader, data.test_dataloader))
    assert val.shape == test.shape == (128, 32)
    assert not torch.equal(val, test)
    assert torch.equal(next(iter(data.predict_dataloader()))[0], test[:8])


@pytest.mark.realdata
def test_a_part_of_the_training_text():
    """For grids in which data repeat: windows come from the first characters only."""
    data = CharDataModule(train_chars=1000, root=os.environ["TENFOLD_DATA"])
    data.setup()
    assert len(data.parts["train"].tokens) == 1000
    with pytest.raises(ValueError, match="train_chars is 1115394, the training part has 1003854"):
        CharDataModule(train_chars=1_115_394, root=os.environ["TENFOLD_DATA"]).setup()


@pytest.mark.realdata
@pytest.mark.parametrize("source", ["wikitext-2", "tinyshakespeare"])
def test_bytes_of_public_texts(source):
    data = BytesDataModule(source, ctx=64, batch_size=4, root=os.environ["TENFOLD_DATA"])
    data.setup()
    tokens, targets = next(iter(data.train_dataloader()))
    assert tokens.dtype == torch.long
    assert tokens.shape == targets.shape == (4, 64)
    assert torch.equal(tokens[:, 1:], targets[:, :-1])


def test_bytes_of_a_file_and_of_sources(sources, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(bytes(range(256)) * 40)
    data = BytesDataModule(str(path), ctx=16, val_size=10)
    data.setup()
    assert len(data.parts["train"].tokens) == 9216
    build_python_corpus(tmp_path / "python-source", [sources])
    data = BytesDataModule("python", ctx=4, val_size=2, batch_size=2, root=str(tmp_path))
    data.setup()
    assert next(iter(data.val_dataloader()))[0].shape == (2, 4)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_tasks(name):
    data = TaskDataModule(name, batch_size=4, steps_per_epoch=2, val_size=6)
    data.setup()
    tokens, targets = next(iter(data.train_dataloader()))
    assert tokens.shape == targets.shape == (4, data.task.length)
    assert int(tokens.max()) < data.vocab
    assert (targets != IGNORED).any(1).all()
    again = TaskDataModule(name, val_size=6)
    again.setup()
    assert torch.equal(next(iter(again.val_dataloader()))[0][:4], next(iter(data.val_dataloader()))[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CharDataModule(batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: CharDataModule(ctx=0), ValueError, "ctx must be at least 1, got 0"),
        (lambda: CharDataModule(train_chars=32), ValueError, "train_chars must exceed ctx = 32, got 32"),
        (
            lambda: BytesDataModule(train_share=1.0),
            ValueError,
            "train_share must lie strictly between 0 and 1",
        ),
        (lambda: BytesDataModule("nowhere.txt").setup(), FileNotFoundError, "there is no file nowhere.txt"),
        (lambda: TaskDataModule("sorting"), ValueError, "task must be one of 'induction'"),
        (lambda: TaskDataModule(seed=-1), ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_bad_modules(make, error, message):
    with pytest.raises(error, match=message):
        make()
