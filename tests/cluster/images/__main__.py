"""`python -m tests.cluster.images`: build every image of the node tests and print their folder.

`CLUSTER_IMAGES=FOLDER cluster up` starts a node that has them.
"""

import sys

from tests.cluster.images.builder import BuildFailed
from tests.cluster.images.node_images import build_all
from tests.cluster.images.places import NoRoom

if __name__ == "__main__":
    try:
        print(build_all())
    except (BuildFailed, NoRoom) as error:
        sys.exit(f"images: {error}")
