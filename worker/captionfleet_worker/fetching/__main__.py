"""`python -m captionfleet_worker.fetching PARENT`: started by an agent, never by a person.

The order comes on stdin, progress and the end go to stdout, one JSON a line. Dies with its agent;
what it has fetched of a file stays, and the next one goes on from there.
"""

import os
import sys
import traceback

from captionfleet_worker.dying import die_with
from captionfleet_worker.secrecy import be_unreadable


def main() -> None:
    be_unreadable()
    die_with(int(sys.argv[1]))
    # Imported only now: that takes half a second, in which an engine could read the token.
    from captionfleet_worker.engine.protocol import LoadFailed
    from captionfleet_worker.fetching.errand import Errand
    from captionfleet_worker.fetching.order import FetchOrder
    from captionfleet_worker.fetching.telling import Telling

    order = FetchOrder.from_line(sys.stdin.readline())
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no line of ours
    telling = Telling(lines)
    try:
        telling.finish(Errand(order, telling).run())
    except LoadFailed as failed:
        traceback.print_exc()
        telling.finish(failed)
    except Exception as error:
        traceback.print_exc()
        said = f"{type(error).__name__}: {error}; the model's log has more"
        telling.finish(LoadFailed("LoadFailed", said, retriable=True))
    # Other files may still be coming: their parts are on the disk.
    os._exit(0)


if __name__ == "__main__":
    main()
