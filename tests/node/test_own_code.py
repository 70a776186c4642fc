"""Uploaded code on a real node: it captions from a pod that nobody restarts."""

from tests.cli.test_upload import caption
from tests.conftest import eventually
from tests.node.conftest import POOL
from tests.node.installation import Installation

CODE = """
class Sayer:
    def load(self):
        pass

    def infer(self, image):
        return "{word}"
"""
Identity = tuple[str, str, int]
"""(name, uid, restarts of its container)."""


async def test_each_version_captions_and_no_pod_is_restarted(installed: Installation) -> None:
    one = {"minReplicas": 1, "maxReplicas": 1}
    installed.apply("CaptionWorkerPool", "cpu", {**POOL, "autoscaling": one})
    await eventually(lambda: len(workers(installed)) == 1, seconds=120, what="one worker")
    before = workers(installed)

    async with installed.client() as client:
        for word in ("first", "second"):
            await client.upload_code({"sayer.py": CODE.format(word=word)})
            assert await caption(client, "sayer") == word
        await client.delete("models", "sayer")

    assert workers(installed) == before
    assert [restarts for _, _, restarts in before] == [0]
    installed.apply("CaptionWorkerPool", "cpu", POOL)


def workers(installed: Installation) -> list[Identity]:
    """The pool's pods that run."""
    return [
        (pod["metadata"]["name"], pod["metadata"]["uid"], status["restartCount"])
        for pod in installed.pods("captionfleet.io/pool=cpu")
        for status in pod["status"].get("containerStatuses", ())
        if status["ready"]
    ]
