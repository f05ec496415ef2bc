"""Command line: `python -m service`."""

import gc
import sys

gc.disable()  # to look for garbage meanwhile would take a fifth of the time
from service.cli.serve import main  # noqa: E402

gc.enable()

if __name__ == "__main__":
    sys.exit(main())
