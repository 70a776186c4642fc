"""Helm as tests see it: what it renders as objects, what it says, what it installs."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.clusters import Cluster, CommandFailed, run
from tests.conftest import ROOT

CHART = ROOT / "charts" / "captionfleet"
CRDS_CHART = ROOT / "charts" / "captionfleet-crds"

Document = dict[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    documents: list[Document]

    def of(self, kind: str) -> list[Document]:
        return [each for each in self.documents if each["kind"] == kind]

    def one(self, kind: str, name: str) -> Document:
        [found] = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def pods(self) -> Iterator[tuple[str, Document]]:
        """The name of whatever makes pods, and the pod: {metadata, spec}."""
        for each in self.documents:
            name = each["metadata"]["name"]
            if each["kind"] == "Pod":
                yield name, each
            elif each["kind"] in ("Deployment", "StatefulSet", "Job"):
                yield name, each["spec"]["template"]

    def pod(self, name: str) -> Document:
        return dict(self.pods())[name]

    def env(self, name: str) -> dict[str, Document]:
        """The environment of that pod's container, by variable."""
        return {each["name"]: each for each in self.pod(name)["spec"]["containers"][0]["env"]}


@dataclass(frozen=True)
class Helm:
    program: Path

    def template(
        self, values: Values | None = None, *options: str, release: str = "captionfleet",
        namespace: str = "captions", chart: Path = CHART,
    ) -> Rendered:  # fmt: skip
        """What an install with these values would make."""
        # Helm renders for the oldest Kubernetes unless it is told.
        where = ["--namespace", namespace, "--kube-version", "1.34.0"]
        text = self("template", release, str(chart), *where, *options, values=values)
        return Rendered([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])

    def refusal(self, values: Values, *options: str) -> str:
        """What it says when it refuses these values, in one line."""
        try:
            self.template(values, *options)
        except CommandFailed as failure:
            return " ".join(failure.stderr.split())
        raise AssertionError(f"not refused: {values}")

    def on(self, cluster: Cluster, *args: str, namespace: str, values: Values | None = None) -> str:
        """Any command, on a cluster."""
        where = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
        return self(*args, *where, values=values)

    def __call__(self, *args: str, values: Values | None = None) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values or {}, file)
            file.flush()
            given = ["--values", file.name] if values else []
            return run([str(self.program), *args, *given])
