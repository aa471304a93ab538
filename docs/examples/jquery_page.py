"""The chat with the page that uses jquery.signalR; the two scripts come from npm."""

from pathlib import Path

from chat import app

here = Path(__file__).parent
scripts = Path("node_modules")

app.add_page("/signalr", (here / "jquery.html").read_bytes(), "text/html; charset=utf-8")
app.add_page("/jquery.js", (scripts / "jquery/dist/jquery.min.js").read_bytes(), "text/javascript")
app.add_page("/jquery.signalR.js", (scripts / "signalr/jquery.signalR.min.js").read_bytes(), "text/javascript")
