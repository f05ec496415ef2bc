"""Variables of the environment that are named like settings, and are none."""

import logging
import re
from collections.abc import Mapping

from service.errors import StartupError
from service.settings import Settings

# Those that other parts of the project read.
_OTHERS = {"CIFAR10_DATA", "CIFAR10_UNPACK"}
# Those that Kubernetes sets for a Service whose name begins with `cifar10-`.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)=|_PORT_\d+_\w+=|_PORT=\w+://")

logger = logging.getLogger(__name__)


def check_variables(environment: Mapping[str, str]) -> None:
    """Warns of each variable that is named like a setting and is none: it may be misspelt.

    Raises:
        StartupError: it is about keys, without which the service would be open.
    """
    known = {f"CIFAR10_{name.upper()}" for name in Settings.model_fields} | _OTHERS
    for name, value in sorted(environment.items()):
        is_ours = name.upper().startswith("CIFAR10_") and name.upper() not in known
        if not is_ours or _SERVICE_LINK.search(f"{name}={value}"):
            continue
        if "KEY" in name.upper():
            raise StartupError(f"There is no setting {name}; see --help for those about keys.")
        logger.warning("unknown setting", extra={"fields": {"variable": name}})
