"""``python -m polywheel``."""

import sys

from polywheel.cli import main

sys.exit(main())
