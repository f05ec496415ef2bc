"""Command line: `python -m service`."""

import gc
import sys

gc.disable()  # garbage collection would take a fifth of the time of the imports
from service.cli.serve import main  # noqa: E402

gc.enable()

if __name__ == "__main__":
    sys.exit(main())
