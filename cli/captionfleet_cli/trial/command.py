"""The command test: proves a custom model on this machine, without a fleet.

The report goes to standard error and the finished manifest to standard output, so that
`captionfleet test FILE | captionfleet apply -f -` does what it says.
"""

import asyncio
import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from captionfleet_cli.submit.pictures import check_paths
from captionfleet_cli.text import one_line
from captionfleet_cli.trial.checks import Check, Result, Said, failed
from captionfleet_cli.trial.pictures import load_pictures
from captionfleet_cli.trial.run import Trial
from captionfleet_cli.trial.subject import Subject, read_class
from captionfleet_cli.trouble import Trouble


def test(
    file: Annotated[Path, typer.Argument(help="Python file with a CustomModel class.")],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures or folders. Default: four drawn ones.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="What to ask, if infer() takes a prompt.")] = "",
    entrypoint: Annotated[
        str, typer.Option(help="module:Class or Class. Default: the one class that can be it.")
    ] = "",
    kwarg: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the class; may be repeated.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder with weights, as spec.source.volume would name.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=512, help="Pictures of the batch.")] = 8,
    timeout: Annotated[int, typer.Option(min=1, help="Longest seconds of one batch.")] = 120,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run it on cuda:0, not the CPU.")] = False,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Bring the file in the manifest, by itself.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as JSON instead.")
    ] = False,
) -> None:
    """Prove a custom model here and now, as a worker would run it, and print its manifest.

    It is read, loaded, asked picture by picture, twice, in a batch, and unloaded. The report goes
    to standard error, the manifest to standard output. Exit code 0 if nothing failed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise Trouble("the worker's packages are needed: pip install 'captionfleet[worker]'.")
    check_paths(pictures or ())
    subject = replace(
        read_class(file, entrypoint, kwarg or ()),
        weights=weights, batch=batch, timeout=timeout, gpu=gpu, with_code=with_code,
    )  # fmt: skip
    report = Report(subject, silent=as_json)
    asyncio.run(_try(report, pictures or (), prompt))
    if as_json:
        print(json.dumps(report.as_document(), indent=2, ensure_ascii=False))
    elif report.manifest:
        text = yaml.dump(report.manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        print(text, end="")
    if not report.manifest:
        wrong = [check.name for check in report.checks if check.result == Result.FAILED]
        raise Trouble(f"{file} is not ready: {', '.join(wrong)} failed.")


class _Dumper(yaml.SafeDumper):
    """Writes code as lines, as a person would."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


@dataclass
class Report:
    """What has been found so far; told as it comes unless silent."""

    subject: Subject
    silent: bool
    checks: list[Check] = field(default_factory=list)
    captions: list[Said] = field(default_factory=list)
    manifest: dict[str, Any] | None = None
    """Once nothing has failed."""

    def add(self, check: Check) -> None:
        self.checks.append(check)
        self.tell(f"  {check.name:<12} {check.result.value:<7} {one_line(check.told)}")
        if check.remedy and check.result != Result.OK:
            self.tell(f"  {'':<20} {check.remedy}")

    def show(self, captions: Sequence[Said]) -> None:
        self.captions = list(captions)
        for said in captions:
            text = one_line(said.error if said.text is None else said.text)
            self.tell(f"      {said.picture}: {text}  ({said.seconds:.2f} s)")

    def tell(self, line: str) -> None:
        if not self.silent:
            print(line, file=sys.stderr, flush=True)

    def as_document(self) -> dict[str, Any]:
        return {
            "file": str(self.subject.file),
            "entrypoint": self.subject.entrypoint,
            "ready": self.manifest is not None,
            "checks": [asdict(check) for check in self.checks],
            "captions": [asdict(said) for said in self.captions],
            "manifest": self.manifest,
        }


async def _try(report: Report, paths: Sequence[Path], prompt: str) -> None:
    subject = report.subject
    report.tell(f"{subject.file}: {subject.entrypoint or 'no class'}")
    for problem in subject.problems:
        report.add(failed("code", problem, "correct it: nothing was run"))
    if subject.problems:
        return
    report.add(Check("code", Result.OK, "has load() and infer(), told from its text"))
    with tempfile.TemporaryDirectory(prefix="captionfleet-test-") as folder:
        trial = Trial(subject, load_pictures(paths), prompt, Path(folder))
        async for check in trial.checks():
            report.add(check)
            if check.name == "single":
                report.show(trial.captions)
    if all(check.result != Result.FAILED for check in report.checks):
        report.manifest = subject.manifest(trial.memory_bytes)
