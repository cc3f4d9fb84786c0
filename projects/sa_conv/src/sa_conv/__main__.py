"""`python -m sa_conv` is the command `sa_conv`."""

import sys

from sa_conv.train import main

sys.exit(main())
