"""`python -m icenet` is the command `icenet`."""

import sys

from .train import main

sys.exit(main())
