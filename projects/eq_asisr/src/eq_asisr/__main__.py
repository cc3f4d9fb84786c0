"""`python -m eq_asisr` is the command `eq_asisr`."""

import sys

from .train import main

sys.exit(main())
