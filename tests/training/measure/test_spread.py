import pytest

from training.measure.spread import spread


def test_spread_over_seeds() -> None:
    found = spread([0.8, 0.82, 0.84])
    assert found.values == (0.8, 0.82, 0.84)
    assert found.mean == pytest.approx(0.82)
    assert found.standard_deviation == pytest.approx(0.02)
    # Student's t with two degrees of freedom: 4.3027 standard errors.
    assert found.interval == pytest.approx((0.82 - 0.049683, 0.82 + 0.049683), abs=1e-6)
    assert found.text() == (
        "82.00%, standard deviation 2.00%, 95 % interval of the mean 77.03% to 86.97% (3 seeds)"
    )
