"""`python -m gmaplatent` is the command `gmaplatent`."""

import sys

from .train import main

sys.exit(main())
