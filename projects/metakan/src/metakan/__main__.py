"""`python -m metakan` is the command `metakan`."""

import sys

from .train import main

sys.exit(main())
