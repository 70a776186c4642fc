"""The folder a node's containerd begins with: the images, unpacked, kept from run to run.

A containerd without Kubernetes fills it; only layers it lacks are moved. No cluster runs on the
folder itself: `seed` beside this file gives each node its own copy of the bookkeeping and links
to the large parts.
"""

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from tests.cluster.images.builder import Blob, BuildFailed, Built, apart

_NAMESPACE = "k8s.io"  # where kubelet's containerd looks
_BEFORE = ".before"
_CONFIG = """version = 2
root = "{root}"
state = "{state}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{state}/socket"
"""


class NodeStore:
    """`with NodeStore(folder, work) as store`: containerd runs meanwhile."""

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder = folder
        self._state = work / "containerd"
        self._socket = self._state / "socket"
        self._client = ("ctr", f"--address={self._socket}", f"--namespace={_NAMESPACE}")
        self._blobs = folder / "io.containerd.content.v1.content/blobs/sha256"

    def __enter__(self) -> "NodeStore":
        """Raises BuildFailed, with its log, if containerd does not start."""
        self._state.mkdir()
        config = self._state / "config.toml"
        config.write_text(_CONFIG.format(root=self._folder, state=self._state))
        with (self._state / "log").open("wb") as log:
            self._process = subprocess.Popen(
                apart("containerd", "--config", str(config)),
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                said = (self._state / "log").read_text()
                raise BuildFailed(f"containerd did not start:\n{said}")
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(60)

    def take(self, images: Collection[Built]) -> None:
        """Have these images and no others, unpacked, under their full names."""
        # The collector would take the layers of a replaced image while the new one, which begins
        # with the same layers, is unpacked. So what is there keeps a second name until the end.
        before = self._names()
        for name in before:
            self._ctr("images", "tag", "--force", name, f"{name.removesuffix(_BEFORE)}{_BEFORE}")
        for image in images:
            self._take(image)
        if others := self._names() - {_full_name(image) for image in images}:
            self._ctr("images", "rm", "--sync", *others)

    def _take(self, image: Built) -> None:
        with self._importing() as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
            _add(archive, "index.json", _index(image))
            _add(archive, f"blobs/sha256/{sha256(image.manifest).hexdigest()}", image.manifest)
            for blob in (image.config, *image.layers):
                if not (self._blobs / _hexadecimal(blob)).exists():
                    _stream(archive, blob)

    def _names(self) -> set[str]:
        return set(self._ctr("images", "ls", "--quiet").split())

    def _ctr(self, *arguments: str) -> str:
        done = subprocess.run([*self._client, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise BuildFailed(f"ctr {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    @contextmanager
    def _importing(self) -> Iterator[tarfile.TarFile]:
        with subprocess.Popen(
            [*self._client, "images", "import", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as ctr:  # fmt: skip
            assert ctr.stdin and ctr.stdout
            with (
                suppress(BrokenPipeError),  # then it says why
                ctr.stdin as pipe,
                tarfile.open(fileobj=pipe, mode="w|") as archive,
            ):
                yield archive
            said = ctr.stdout.read().decode(errors="replace")
        if ctr.returncode:
            raise BuildFailed(f"ctr images import: {said}")


def _full_name(image: Built) -> str:
    """What Kubernetes makes of a name that names no registry."""
    return f"docker.io/{image.name if '/' in image.name else f'library/{image.name}'}"


def _index(image: Built) -> bytes:
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{sha256(image.manifest).hexdigest()}",
        "size": len(image.manifest),
        "annotations": {"io.containerd.image.name": _full_name(image)},
    }
    return json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _stream(archive: tarfile.TarFile, blob: Blob) -> None:
    entry = tarfile.TarInfo(f"blobs/sha256/{_hexadecimal(blob)}")
    entry.size = blob.size
    with subprocess.Popen(blob.source, stdout=subprocess.PIPE) as source:
        assert source.stdout
        archive.addfile(entry, source.stdout)


def _hexadecimal(blob: Blob) -> str:
    return blob.digest.partition(":")[2]
