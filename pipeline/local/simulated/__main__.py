"""`python -m pipeline.local.simulated`."""

import sys

from pipeline.local.simulated.program import main

sys.exit(main())
