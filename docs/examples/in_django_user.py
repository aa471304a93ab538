"""Who is logged in with `django.contrib.auth`, for `App(authenticate=who)`."""

from __future__ import annotations

from http.cookies import SimpleCookie
from importlib import import_module

from django.conf import settings
from django.contrib.auth import aget_user
from django.http import HttpRequest

from persistconn import Request


async def who(request: Request) -> str | None:
    cookies: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    asked = HttpRequest()
    asked.session = import_module(settings.SESSION_ENGINE).SessionStore(key.value if key else None)
    user = await aget_user(asked)
    return user.get_username() if user.is_authenticated else None
