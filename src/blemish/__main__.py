"""`python -m blemish`: the command line."""

import sys

from blemish.cli import main

sys.exit(main())
