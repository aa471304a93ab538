from __future__ import annotations
import pytest
from persistconn.testing import driver_contract
from tests.contracts.drivers import DRIVERS

@pytest.mark.parametrize("check", driver_contract.CHECKS, ids=str)
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_keeps_the_contract(driver, check):
    check(DRIVERS[driver], patience=5)
