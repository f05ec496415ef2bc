from pathlib import Path

import pytest

from training import environment


@pytest.mark.parametrize(
    ("flags", "policy"),
    [("fma avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"), ("avx2", "float32")],
)
def test_bfloat16_is_used_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, policy: str
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: flags)
    assert environment.dtype_policy() == policy


def test_card_names_hardware_and_versions() -> None:
    assert "cores" in environment.hardware()
    found = set(environment.libraries())
    assert {"python", "tensorflow", "keras", "onnx", "numpy"} <= found
    assert {"pillow", "scipy", "scikit-learn"} <= found  # augment, calibrate, split
