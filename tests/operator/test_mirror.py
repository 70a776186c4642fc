"""What is remembered of the API server, whatever order news arrive in."""

from tests.operator.clusters import seen_pod

from captionfleet_operator.cluster.children import Key
from captionfleet_operator.cluster.mirror import Mirror

POD = ("Pod", "capw-cpu-1")


class Changes(list[Key]):
    def note(self, key: Key, pool: str) -> None:
        self.append(key)


def test_older_news_change_nothing() -> None:
    changes = Changes()
    mirror = Mirror(changes.note)
    mirror.see("Pod", seen_pod(version=5))

    mirror.see("Pod", seen_pod(version=4, phase="Pending"))
    mirror.see("Pod", seen_pod(version=4), gone=True)

    assert changes == [POD]
    assert mirror.of_pool("cpu", "Pod")[0]["status"]["phase"] == "Running"


def test_what_is_gone_is_forgotten_and_told() -> None:
    changes = Changes()
    mirror = Mirror(changes.note)
    mirror.see("Pod", seen_pod(version=5))

    mirror.see("Pod", seen_pod(version=6), gone=True)

    assert (mirror.get(POD), mirror.pools(), changes) == (None, set(), [POD, POD])


def test_a_whole_reading_finds_what_a_watch_missed() -> None:
    mirror = Mirror(Changes().note)
    mirror.see("Pod", seen_pod("capw-cpu-1", version=5))
    mirror.see("Pod", seen_pod("capw-cpu-3", version=12))

    mirror.replace("Pod", [seen_pod("capw-cpu-2", version=7)], "10")

    names = [pod["metadata"]["name"] for pod in mirror.of_pool("cpu", "Pod")]
    assert names == ["capw-cpu-2", "capw-cpu-3"]  # the third was made after the reading


def test_the_same_version_twice_is_no_change() -> None:
    changes = Changes()
    mirror = Mirror(changes.note)

    mirror.see("Pod", seen_pod(version=5))
    mirror.replace("Pod", [seen_pod(version=5)], "6")

    assert changes == [POD]


def test_a_pod_whose_pool_label_was_changed_counts_in_its_new_pool_alone() -> None:
    changes = Changes()
    mirror = Mirror(changes.note)
    mirror.see("Pod", seen_pod(version=5))
    moved = seen_pod(version=6)
    moved["metadata"]["labels"] = {"captionfleet.io/pool": "debug"}

    mirror.see("Pod", moved)
    assert (mirror.of_pool("cpu", "Pod"), len(mirror.of_pool("debug", "Pod"))) == ([], 1)
    mirror.see(
        "Pod", {**moved, "metadata": {**moved["metadata"], "resourceVersion": "7"}}, gone=True
    )

    assert mirror.pools() == set()
