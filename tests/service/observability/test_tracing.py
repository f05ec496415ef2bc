"""When traces are exported; `tests/e2e/test_tracing.py` receives them."""

import sys

import pytest

from service.observability import tracing

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**COLLECTOR, "OTEL_SDK_DISABLED": "true"},
        {**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_traces_are_off_unless_the_standard_variables_say_otherwise(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.start() is None


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
)
def test_either_variable_names_the_collector(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    traces = tracing.start()
    assert traces is not None
    traces.close()


def test_missing_extra_is_logged_and_traces_stay_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert tracing.start() is None
    assert caplog.messages == ["Traces are not exported: that needs the extra `otel`."]


def test_invalid_variable_is_logged_and_traces_stay_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
    assert tracing.start() is None
    (message,) = caplog.messages
    assert message.startswith("Traces are not exported: ")
    assert "schedule_delay" in message
