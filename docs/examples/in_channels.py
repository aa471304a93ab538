"""Connections beside Channels: its router leaves the path as it is."""

from __future__ import annotations

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

from persistconn import App

realtime = App(secret_keys=["a secret of your own, from elsewhere"])

router = URLRouter([re_path("^rt/", realtime)])
application = ProtocolTypeRouter({"http": router, "websocket": router})
