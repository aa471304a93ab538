"""Methods instead of messages: call Python from a page, and functions of the page from Python.

An optional layer on top of `PersistentConnection`; it uses only names that `persistconn` exports, so anyone could have
written it. Mount hubs with `app.add_hubs("/signalr", MyHub)`.
"""

from __future__ import annotations

from .authorization import authorize
from .clients import AnyClient, CallerClients, ClientProxy, HubClients, HubGroups
from .dependencies import Depends
from .filters import Filter, HubCall, Proceed
from .hub import Hub, HubContext, HubError, hub_name, method_name
from .messagepack_values import DOTNET, PYTHON, Conventions
from .progress import Progress
from .state import State

__all__ = [
    "DOTNET",
    "PYTHON",
    "AnyClient",
    "CallerClients",
    "ClientProxy",
    "Conventions",
    "Depends",
    "Filter",
    "Hub",
    "HubCall",
    "HubClients",
    "HubContext",
    "HubError",
    "HubGroups",
    "Proceed",
    "Progress",
    "State",
    "authorize",
    "hub_name",
    "method_name",
]
