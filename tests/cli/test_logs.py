"""The logs of a model's engines, gathered from all workers of this machine."""

from pathlib import Path

import pytest

from captionfleet_cli.local_files import installation_data, remember_installation
from captionfleet_cli.logs import LogReader
from captionfleet_cli.trouble import Trouble


def write(folder: Path, worker: str, text: str) -> None:
    (folder / worker).mkdir(exist_ok=True)
    with (folder / worker / "blip.log").open("a") as log:
        log.write(text)


def test_every_line_names_its_worker(tmp_path: Path) -> None:
    write(tmp_path, "cpu-1", "loading\nready\n")
    write(tmp_path, "cpu-2", "loading\n")
    assert list(LogReader(tmp_path, "blip").fresh_lines()) == [
        "cpu-1: loading", "cpu-1: ready", "cpu-2: loading",
    ]  # fmt: skip


def test_only_what_was_added_is_read_again_and_whole_lines_only(tmp_path: Path) -> None:
    write(tmp_path, "cpu-1", "loading\n")
    reader = LogReader(tmp_path, "blip")
    assert list(reader.fresh_lines()) == ["cpu-1: loading"]
    write(tmp_path, "cpu-1", "ready\nhalf a li")
    assert list(reader.fresh_lines()) == ["cpu-1: ready"]
    write(tmp_path, "cpu-1", "ne\n")
    assert list(reader.fresh_lines()) == ["cpu-1: half a line"]


def test_a_log_that_was_begun_anew_is_read_from_its_start(tmp_path: Path) -> None:
    write(tmp_path, "cpu-1", "a long first life\n")
    reader = LogReader(tmp_path, "blip")
    list(reader.fresh_lines())
    (tmp_path / "cpu-1" / "blip.log").write_text("again\n")
    assert list(reader.fresh_lines()) == ["cpu-1: again"]


def test_terminal_codes_of_a_model_do_not_reach_the_terminal(tmp_path: Path) -> None:
    write(tmp_path, "cpu-1", "\x1b]0;owned\x07\x1b[2Jhello\n")
    assert list(LogReader(tmp_path, "blip").fresh_lines()) == ["cpu-1: ]0;owned[2Jhello"]


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="no name of a model"):
        LogReader(tmp_path, "../secret")


def test_the_data_folder_of_a_local_installation_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert installation_data("http://127.0.0.1:8000") is None
    remember_installation("http://127.0.0.1:8000/", tmp_path / "data")
    assert installation_data("http://127.0.0.1:8000") == tmp_path / "data"
