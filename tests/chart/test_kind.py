"""`make kind`, as far as it can be tried without Docker: what it asks of which program."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.conftest import ROOT

TOOLS = ("docker", "kind", "kubectl", "helm")
# Says what it was asked, and answers what the script reads.
STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$ASKED"
case "$(basename "$0") $1 $2" in
  "kubectl get secret") echo -n some-token ;;
  "docker image inspect") echo sha256:1234 ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of PATH, for stand-ins; without them none of the tools is found."""
    usual = tmp_path / "usual"
    usual.mkdir()
    for name in ("bash", "env", "dirname", "basename", "sed", "grep"):
        (usual / name).symlink_to(Path("/usr/bin") / name)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{usual}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return folder


def stand_in(folder: Path, *tools: str) -> None:
    for tool in tools:
        (folder / tool).write_text(STAND_IN)
        (folder / tool).chmod(0o755)


def kind(*args: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "kind"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_says_which_tools_are_missing(path: Path) -> None:
    stand_in(path, "docker", "helm")
    done = kind()
    assert done.returncode == 1
    assert "install kind kubectl first" in done.stderr


def test_it_says_when_docker_does_not_answer(path: Path) -> None:
    stand_in(path, *TOOLS)
    (path / "docker").write_text("#!/usr/bin/env bash\nexit 1\n")
    assert "Docker does not answer" in kind().stderr


def test_it_builds_loads_installs_and_prints_the_address(path: Path, tmp_path: Path) -> None:
    stand_in(path, *TOOLS)

    done = kind()

    assert done.stdout.splitlines()[-1] == "ready http://127.0.0.1:8000/?token=some-token"
    asked = (tmp_path / "asked").read_text().splitlines()
    verbs = [" ".join(each.split()[:2]) for each in asked if each != "docker info"]
    assert verbs == [
        "docker build", "docker build", "kind get", "kind create", "kind load", "docker image",
        "helm upgrade", "kubectl get",
    ]  # fmt: skip
    [install] = [each for each in asked if each.startswith("helm")]
    for part in (
        "--install",
        "--wait",
        "quickstart.enabled=true",
        "podAnnotations.image=sha256:1234",
    ):
        assert part in install


def test_the_console_is_where_the_script_says(path: Path, tmp_path: Path) -> None:
    [node] = yaml.safe_load((ROOT / "kind-config.yaml").read_text())["nodes"]
    [port] = node["extraPortMappings"]
    stand_in(path, *TOOLS)
    kind()
    assert f"api.service.nodePort={port['containerPort']}" in (tmp_path / "asked").read_text()
    assert (port["hostPort"], port["listenAddress"]) == (8000, "127.0.0.1")


def test_down_deletes_the_cluster(path: Path, tmp_path: Path) -> None:
    stand_in(path, *TOOLS)
    assert kind("down").returncode == 0
    assert "kind delete cluster --name captionfleet" in (tmp_path / "asked").read_text()
    assert kind("sideways").returncode == 1


def test_scripts_are_sound_shell() -> None:
    for script in ("kind", "images"):
        subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], check=True, env=os.environ)
