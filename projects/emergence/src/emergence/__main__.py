"""`python -m emergence` is the command `emergence`."""

import sys

from .train import main

sys.exit(main())
