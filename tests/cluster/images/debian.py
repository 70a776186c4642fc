"""Root file systems of Debian with a few packages, made by mmdebstrap and kept as tar files."""

import hashlib
import subprocess
from pathlib import Path

PYTHON = ("ca-certificates", "libstdc++6", "python3", "python3-venv")
RABBITMQ_SERVER = ("ca-certificates", "rabbitmq-server")
_SUITE = "bookworm"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def root_file_system(folder: Path, packages: tuple[str, ...]) -> Path:
    """FOLDER/KEY/root.tar, made if it is not there. A folder of its own is a builder's context."""
    wanted = " ".join((_SUITE, *_LEFT_OUT, *packages))
    place = folder / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    made = place / "root.tar"
    if not made.exists():
        place.mkdir(exist_ok=True)
        fresh = place / "fresh.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential",
             *(f"--dpkgopt=path-exclude={each}" for each in _LEFT_OUT),
             f"--include={','.join(packages)}", _SUITE, str(fresh)],
            check=True,
        )  # fmt: skip
        fresh.rename(made)
    return made
