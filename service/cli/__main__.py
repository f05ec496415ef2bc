"""Command line: `python -m service.cli`, the same as `cifar10-serve`."""

import sys

from service.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
