"""``python -m desvelo`` is the command ``desvelo``."""

import sys

from desvelo.cli import main

if __name__ == "__main__":
    sys.exit(main())
