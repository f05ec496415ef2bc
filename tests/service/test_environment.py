"""Variables that are named like settings."""

import logging

import pytest

from service.environment import check_variables
from service.errors import StartupError
from service.settings import Settings


@pytest.mark.parametrize("name", ["CIFAR10_API_KEY", "cifar10_keys", "CIFAR10_ADMIN_KEY_FILE"])
def test_misspelt_setting_about_keys_ends_the_start(name: str) -> None:
    with pytest.raises(StartupError, match=name):
        check_variables({name: "s3cret"})


def test_unknown_setting_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    check_variables({"CIFAR10_MAX_QUEUES": "5", "CIFAR10_MAX_QUEUE": "5"})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["fields"] == {"variable": "CIFAR10_MAX_QUEUES"}


def test_settings_and_what_others_set_are_no_misspelt_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {f"CIFAR10_{name.upper()}": "" for name in Settings.model_fields}
    of_kubernetes = {
        "CIFAR10_KEYS_SERVICE_HOST": "10.0.0.1",
        "CIFAR10_KEYS_SERVICE_PORT": "8000",
        "CIFAR10_KEYS_SERVICE_PORT_HTTP": "8000",
        "CIFAR10_KEYS_PORT": "tcp://10.0.0.1:8000",
        "CIFAR10_KEYS_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "CIFAR10_KEYS_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    others = {"CIFAR10_DATA": "data", "HOME": "/", "API_KEY": "another's"}
    check_variables(settings | of_kubernetes | others | {"cifar10_port": "1"})
    assert not caplog.records
