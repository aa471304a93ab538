"""Tests of price_client.py, against a server that does as it is told."""

from urllib.error import HTTPError

import pytest
from price_client import Prices
from websockets.exceptions import ConnectionClosed


def test_prices(fake_signalr):
    shop = fake_signalr.hub("shop")
    shop.on("priceOf", lambda what: {"tea": 4, "coffee": 5}[what])
    with Prices(shop.url) as prices:
        assert prices.price_of("tea") == 4
        fake_signalr.push("shop", "changed", "tea", 6)
        assert prices.next_change() == ["tea", 6]
    assert [call.arguments for call in fake_signalr.calls] == [["tea"]]


def test_what_goes_wrong(fake_signalr):
    shop = fake_signalr.hub("shop")
    shop.fails("priceOf", "we are closed")
    fake_signalr.refuse(401, times=1)
    with pytest.raises(HTTPError, match="401"):
        Prices(shop.url)
    with Prices(shop.url) as prices:
        with pytest.raises(LookupError, match="we are closed"):
            prices.price_of("tea")
        fake_signalr.drop()  # the socket is cut, and nobody says goodbye
        with pytest.raises(ConnectionClosed):
            prices.next_change()
