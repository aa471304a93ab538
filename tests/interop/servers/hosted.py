"""An application under test as an ASGI server imports it: `app`, at the root, or in Starlette below a prefix.

Which one, how and where, and the port of the test, it learns from the environment.
"""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

from tests.interop.servers.puppet import Puppet, connect_to_test

__all__: list[str] = []


def _app(application: str, options: dict[str, Any], mount: str, control: int) -> Any:
    orders = connect_to_test(control)
    puppet: Puppet = importlib.import_module(f"tests.interop.servers.{application}").make(options)
    puppet.listen(orders, start_tasks=True)
    if not mount:
        return puppet.app
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount(mount, puppet.app)], lifespan=puppet.app.lifespan)


if "PERSISTCONN_UNDER_TEST" in os.environ:  # else somebody looks for doctests
    app = _app(**json.loads(os.environ["PERSISTCONN_UNDER_TEST"]))
