"""A worker as in a container: a user without name or home, who may write to three folders."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import eventually
from tests.fakehub import TOKEN, FakeHub
from tests.worker.engines import TRUTH, normalized, plain
from tests.worker.hubs import TOY, waits
from tests.worker.processes import worker_process
from tests.worker.stand_ins import Desk, Operator, wanted
from tests.worker.test_downloads import fetchers
from tests.worker.test_engine_remote_code import TRUSTED, mine_at, spec_of
from tests.worker.test_process import serving

from captionfleet.broker.names import Names
from captionfleet_worker.engine_room import room_environment, usable_home

USER = 20001
# It may read what is root's, such as this test's own folders, and write nothing of it.
AS_NOBODY = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip
SHARED = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm")]

# Own code that looks for the token in every process, and tells whose environment it could read.
SPY = """
import json
from pathlib import Path
from captionfleet import CustomModel


class Spy(CustomModel):
    def load(self):
        pass

    def infer(self, image):
        seen = {"read": [], "refused": [], "told": []}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                seen["told" if b"%s" in environment else "read"].append(int(process.name))
            except FileNotFoundError:
                pass
            except OSError:
                seen["refused"].append(int(process.name))
        return json.dumps(seen)
"""
SPY_SPEC = {"custom": {"entrypoint": "spy:Spy"}, "acceptance": {"smokeTest": False}}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Folders data, cache and tmp of that user; home and cwd that nobody may write to."""
    for name in ("data", "cache", "tmp", "home", "cwd"):
        (tmp_path / name).mkdir()
        if name in ("home", "cwd"):
            (tmp_path / name).chmod(0o555)
        elif os.geteuid() == 0:
            os.chown(tmp_path / name, USER, USER)
    yield tmp_path
    for name in ("home", "cwd"):
        (tmp_path / name).chmod(0o755)


def strays(place: Path) -> list[Path]:
    """What the user wrote elsewhere, in any folder that is open to all."""
    own = {place / name for name in ("data", "cache", "tmp")}
    found, unseen = [], list(SHARED)
    while unseen:
        for entry in unseen.pop().iterdir():
            with contextlib.suppress(FileNotFoundError):  # others clean up meanwhile
                status = entry.lstat()
                if entry not in own and status.st_uid == USER:
                    found.append(entry)
                if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWOTH:
                    unseen.append(entry)
    return found


async def test_a_user_without_name_and_home_downloads_runs_and_captions(
    broker_url: str, names: Names, place: Path, operator: Operator, desk: Desk
) -> None:
    with FakeHub() as hub:
        mine = mine_at(hub)
        with worker_process(
            broker_url, names, place / "worker", cwd=place / "cwd",
            prefix=AS_NOBODY if os.geteuid() == 0 else (),
            environment={
                "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "HF_ENDPOINT": hub.url,
            },
            data=str(place / "data"), cache=str(place / "cache"),
            custom_infer=str(place / "worker" / "custom_infer"),
        ) as worker:  # fmt: skip
            spec = spec_of(mine.commit, pipelineTag="image-to-text", **TRUSTED)
            await serving(operator, spec)
            assert os.geteuid() != 0 or worker.engines[0].uids().effective == USER
            [task] = await desk.send(normalized("shapes-01.png"))
            await eventually(lambda: desk.results)
            assert desk.outcomes()[task] in TRUTH["shapes-01.png"]["captions"].values()
            assert operator.last.cached == ["m"]
            worker.signal()
            await eventually(lambda: worker.ended is not None)
        said = worker.log + (place / "data" / "logs" / "w1" / "m.log").read_text()
    assert worker.ended == 0, said
    assert "denied" not in said and "Read-only" not in said and "warning" not in said, said
    assert strays(place) == []
    kept = {entry.name for entry in (place / "data").iterdir()}
    assert kept == {"assignment.json", "engines", "home", "logs"}


async def test_no_engine_reads_the_token_from_its_agent_or_a_fetcher(
    broker_url: str, names: Names, place: Path, operator: Operator, desk: Desk
) -> None:
    with FakeHub() as hub:
        hub.add("toys/basic", TOY, gated=True)
        hub.hold_at = 600_000
        with worker_process(
            broker_url, names, place / "worker", cwd=place / "cwd",
            prefix=AS_NOBODY if os.geteuid() == 0 else (),
            environment={"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN},
            data=str(place / "data"), cache=str(place / "cache"),
            custom_infer=str(place / "worker" / "custom_infer"),
        ) as worker:  # fmt: skip
            (worker.code / "spy.py").write_text(SPY % TOKEN)
            await serving(operator, SPY_SPEC)
            source = {"source": {"huggingFace": {"repo": "toys/basic"}}}
            await operator.assign({"m": wanted(SPY_SPEC), "gated": wanted(source)})
            await waits(hub.held)
            [fetcher], [engine] = fetchers(worker), worker.engines[:1]
            await desk.send(plain())
            await eventually(lambda: desk.results)
            seen = json.loads(desk.results[0].text or "")
            hub.go_on.set()
    assert seen["told"] == []
    assert {worker.process.pid, fetcher.pid} <= set(seen["refused"])
    assert engine.pid in seen["read"]


def test_a_home_that_can_be_written_to_is_kept(tmp_path: Path) -> None:
    assert usable_home({"HOME": str(tmp_path)}, tmp_path / "data") == str(tmp_path)


@pytest.mark.parametrize("inherited", [{}, {"HOME": ""}, {"HOME": "/nonexistent"}])
def test_otherwise_home_is_a_private_folder_of_the_worker(
    inherited: dict[str, str], tmp_path: Path
) -> None:
    home = Path(usable_home(inherited, tmp_path / "data"))
    assert home == tmp_path / "data" / "home" and home.is_dir()
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_user_without_a_name_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert room_environment(tmp_path, {})["USER"] == "captionfleet"
    assert "USER" not in room_environment(tmp_path, {"LOGNAME": "somebody"})
