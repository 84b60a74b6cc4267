"""``python -m bench``: everything that is measured, one after the other."""

import sys

from bench import walkers

if __name__ == "__main__":
    sys.exit(walkers.main())
