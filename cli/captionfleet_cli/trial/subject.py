"""What is tried: one class in one file, judged by reading before it runs, and its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from captionfleet.code_check import check_code
from captionfleet.resources import API_VERSION
from captionfleet.resources.model import Custom, CustomFile, ModelSpec, Source, VolumeSource
from captionfleet_cli.own_code import kwargs_of, text_of
from captionfleet_cli.trouble import Exit, Trouble

_MEMORY_STEP = 16 * 2**20
_HEADROOM = 1.1
"""What is stated over what was measured: other pictures take a little more."""


@dataclass(frozen=True)
class Subject:
    file: Path
    code: CustomFile
    entrypoint: str
    problems: tuple[str, ...] = ()
    kwargs: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    batch: int = 8
    gpu: bool = False
    timeout: int = 120
    with_code: bool = False
    """The manifest brings the file, for workers that do not have it."""

    @property
    def name(self) -> str:
        """Of the model, as a folder of custom code would call it."""
        words = "".join(c if c.isalnum() else " " for c in self.file.stem.lower()).split()
        return "-".join(words)[:40].strip("-")

    def spec(self) -> ModelSpec:
        """For the trial: no smoke test, since every check is made and told one by one."""
        path = str(self.weights.resolve()) if self.weights else ""
        return ModelSpec.model_validate(
            {
                "custom": Custom(
                    entrypoint=self.entrypoint,
                    kwargs=dict(self.kwargs),
                    files=[self.code] if self.with_code else [],
                ),
                "source": Source(volume=VolumeSource(path=path)) if path else None,
                "batching": {"maxBatchSize": self.batch},
                "inference": {"timeoutSeconds": self.timeout},
                "acceptance": {"smokeTest": False},
            }
        )

    def manifest(self, memory_bytes: int) -> dict[str, object]:
        """Ready to be applied. `memory_bytes`: most that was measured, on its device."""
        size = ceil(memory_bytes * _HEADROOM / _MEMORY_STEP) * _MEMORY_STEP // 2**20
        custom: dict[str, object] = {"entrypoint": self.entrypoint}
        if self.kwargs:
            custom["kwargs"] = dict(self.kwargs)
        if self.with_code:
            custom["files"] = [{"path": self.code.path, "content": self.code.content}]
        spec: dict[str, object] = {"custom": custom}
        if self.weights:
            spec["source"] = {"volume": {"path": str(self.weights.resolve())}}
        spec["batching"] = {"maxBatchSize": self.batch}
        if self.timeout != ModelSpec.model_fields["inference"].default.timeout_seconds:
            spec["inference"] = {"timeoutSeconds": self.timeout}
        needs = {"device": "GPU", "gpuMemory": f"{size}Mi"} if self.gpu else {"memory": f"{size}Mi"}
        spec["requirements"] = needs
        return {
            "apiVersion": API_VERSION,
            "kind": "CaptionModel",
            "metadata": {"name": self.name},
            "spec": spec,
        }


def read_class(file: Path, entrypoint: str, kwargs: Sequence[str]) -> Subject:
    """What the file has, told from its text. Raises Trouble if it cannot be read."""
    if not file.is_file():
        raise Trouble(f"there is no file {file}.", Exit.USAGE)
    given = kwargs_of(kwargs)
    if entrypoint and ":" not in entrypoint:
        entrypoint = f"{file.stem}:{entrypoint}"
    code = CustomFile.model_construct(path=file.name, content=text_of(file))
    checked = check_code([code], entrypoint, given)
    problems = tuple(str(problem) for problem in checked.problems)
    return Subject(file, code, checked.entrypoint, problems, given)
