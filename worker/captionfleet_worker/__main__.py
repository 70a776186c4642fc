"""`python -m captionfleet_worker`."""

import sys

from captionfleet_worker.secrecy import be_unreadable

# Before anything else is imported, which takes a second: the environment holds credentials.
be_unreadable()

from captionfleet_worker.main import main  # noqa: E402

sys.exit(main())
