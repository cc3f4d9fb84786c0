"""The command as a whole: help, version, data, and what a terminal shows."""

import os
import pty
import subprocess

import pytest


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["list"],
        ["reproduce"],
        ["report"],
        ["compare"],
        ["new"],
        ["data"],
        ["data", "list"],
        ["data", "fetch"],
    ],
)
def test_every_command_has_help(here, command):
    code, output, _ = here(*command, "--help")
    assert code == 0
    assert "Usage: tenfold" in output


def test_the_version_is_printed(here):
    code, output, _ = here("--version")
    assert code == 0
    assert output.startswith("tenfold 0.")


def test_data_sets_are_listed_with_their_state(here, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_DATA", str(tmp_path))
    code, output, _ = here("data", "list")
    assert code == 0
    states = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert "bundled" in states["digits"]
    assert "missing" in states["mnist"]
    assert str(tmp_path) in output


def test_a_data_folder_that_is_not_there_is_named(here, monkeypatch):
    monkeypatch.setenv("TENFOLD_DATA", "/nowhere/at/all")
    code, _, errors = here("data", "list")
    assert code == 2
    assert "TENFOLD_DATA=/nowhere/at/all is not a folder" in errors


def test_an_unknown_data_set_is_named_before_anything_is_fetched(here):
    code, _, errors = here("data", "fetch", "digits", "mnits")
    assert code == 2
    assert "unknown data set 'mnits'. Did you mean mnist" in errors


def test_a_bundled_set_needs_no_download(here):
    code, output, _ = here("data", "fetch", "digits")
    assert code == 0
    assert "part of scikit-learn" in output


def test_a_terminal_gets_a_live_table_and_the_verdicts(toys):
    toys.paper(
        "toy",
        """
        @claim("T1", "One is below two", source="section 1")
        def t1(scale, seed):
            time.sleep(0.6)
            return Measurement("seconds", 1.0, "ours < baseline", True, baseline=9.0)
        """,
    )
    screen, terminal = pty.openpty()
    options = {**toys.options(), "text": False}
    options["env"] = {**options["env"], "TERM": "xterm-256color"}
    command = toys.command("reproduce", "toy", "--no-report", "--results", str(toys.results))
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL, **options)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(screen)
    assert process.wait(timeout=20) == 0
    text = shown.decode()
    assert "measuring" in text
    assert "worker 1" in text
    assert "\x1b[" in text
    assert "holds" in text
