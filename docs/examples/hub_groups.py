"""News by subject: who follows a subject is called when there is something new."""

from collections.abc import Sequence

from persistconn import App
from persistconn.hubs import Hub

SUBJECTS = {"chess", "ships", "weather"}


class NewsHub(Hub):
    async def follow(self, subject: str) -> None:
        if subject in SUBJECTS:
            await self.groups.join(self.context.connection_id, subject)

    async def unfollow(self, subject: str) -> None:
        await self.groups.leave(self.context.connection_id, subject)

    async def publish(self, subject: str, headline: str) -> None:
        await self.clients.group(subject).news(subject, headline)

    async def whisper(self, subject: str, headline: str) -> None:
        await self.clients.others_in_group(subject).news(subject, headline)

    async def on_rejoining_groups(self, groups: Sequence[str]) -> Sequence[str]:
        return [name for name in groups if name in SUBJECTS]  # of those that the client was in before a restart


app = App()
app.add_hubs("/signalr", NewsHub)


async def storm(sailor: str) -> None:
    """From outside: put somebody into a group, and call it."""
    await app.hub_groups(NewsHub).join(sailor, "ships")
    await app.clients(NewsHub).group("ships", exclude=[sailor]).news("ships", "A storm is coming.")
    await app.clients(NewsHub).client(sailor).news("ships", "Stay where you are!")
