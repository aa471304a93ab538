"""Who may connect, who may call what, and which user somebody is."""

from collections.abc import Collection
from http.cookies import SimpleCookie

from persistconn import App, Request
from persistconn.hubs import Hub, authorize

PEOPLE = {"key-of-ann": "ann", "key-of-bob": "bob"}
ROLES = {"ann": {"editor", "reader"}, "bob": {"reader"}}


async def authenticate(request: Request) -> str | None:
    """The name of who makes a request: here by a cookie. Asked for every request."""
    key = SimpleCookie(request.headers.get("cookie", "")).get("key")
    return None if key is None else PEOPLE.get(key.value)


def roles(request: Request) -> Collection[str]:
    return ROLES.get(request.user or "", ())


def at_the_office(request: Request) -> bool:
    return request.headers.get("x-office") == "yes"


@authorize  # who has no name cannot connect
class ArticleHub(Hub):
    async def read(self) -> str:
        return f"Good morning, {self.context.user}."

    @authorize(roles=["editor", "owner"])  # one of them will do
    async def write(self, text: str) -> None:
        await self.clients.user("bob").written(text)  # all the connections of this user

    @authorize(roles=["editor"])
    @authorize(policy=at_the_office)  # this, too
    async def publish(self) -> None: ...


@authorize(calls_only=True)  # anybody may connect and be called, but not call
class AlarmHub(Hub):
    async def ring(self) -> None:
        await self.clients.all.ringing()


app = App(authenticate=authenticate)
app.add_hubs("/signalr", ArticleHub, AlarmHub, roles=roles)
