"""``python -m duologue`` is the command ``duologue``."""

import sys

from duologue.cli.main import main

sys.exit(main())
