"""The side that cannot be beaten: benchmarks/offline_loop.py in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from captionfleet_worker.engine.wording import tidy

ROOT = Path(__file__).parent.parent.parent


class OfflineLoop:
    """Loaded when it is made. Its errors go where ours go."""

    def __init__(
        self, weights: Path, threads: int, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.offline_loop", str(weights), str(threads), device,
             dtype],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=quiet() | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.threads = int(self._answer().removeprefix("ready "))
        """As torch tells them."""

    def seconds(self, pictures: Path, batch: int, tokens: int) -> float:
        return self.run(pictures, batch, tokens)[0]

    def run(self, pictures: Path, batch: int, tokens: int) -> tuple[float, list[str]]:
        """Seconds, and the captions as an engine tidies them."""
        assert self._process.stdin
        self._process.stdin.write(f"{pictures} {batch} {tokens}\n")
        self._process.stdin.flush()
        seconds, captions = json.loads(self._answer())
        return seconds, [tidy(each) for each in captions]

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the offline loop ended: what it printed tells why")
        return line


def best_batch(plain: OfflineLoop, pictures: Path, sizes: Sequence[int], tokens: int) -> int:
    """With which the plain loop is fastest. The first run of all is not counted."""
    plain.seconds(pictures, sizes[-1], tokens)
    return min(sizes, key=lambda size: plain.seconds(pictures, size, tokens))


def quiet() -> dict[str, str]:
    """The environment of an anchor: it asks no hub, and prints errors alone."""
    return {
        **os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }  # fmt: skip
