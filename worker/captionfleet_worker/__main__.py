"""`python -m captionfleet_worker`."""

import sys

from captionfleet_worker.main import main

sys.exit(main())
