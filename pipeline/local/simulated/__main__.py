"""`python -m pipeline.local.simulated`."""

import sys

from pipeline.local.simulated.server import main

sys.exit(main())
