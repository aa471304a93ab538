from __future__ import annotations
import pytest
from persistconn.testing import driver_contract
from tests.contracts import drivers

DRIVERS = [drivers.threads]

@pytest.mark.parametrize("check", driver_contract.CHECKS, ids=str)
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda d: d.__name__)
def test_a_driver_keeps_the_contract(driver, check):
    check(driver, patience=5)
