"""`python -m koopgen` is the command `koopgen`."""

import sys

from .train import main

sys.exit(main())
