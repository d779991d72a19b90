"""`python -m redc`: the command line, where no script of that name is on the path."""

from __future__ import annotations

import sys

from redc.cli import main

sys.exit(main())
