"""The command line as a module: ``python -m ellipsoid``."""

import sys

from ellipsoid.cli import main

if __name__ == "__main__":
    sys.exit(main())
