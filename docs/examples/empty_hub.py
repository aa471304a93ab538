"""A hub that can do nothing yet, and a page that connects to it."""

from hub_pages import add_hub_page

from persistconn import App
from persistconn.hubs import Hub


class MyHub(Hub):
    pass


app = App()
app.add_hubs("/signalr", MyHub)
add_hub_page(app, "empty_hub.html")
