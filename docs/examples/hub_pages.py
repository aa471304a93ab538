"""What the pages of the hub examples need: two scripts from npm, and the look that they share."""

from pathlib import Path

from persistconn import App

here = Path(__file__).parent
scripts = Path("node_modules")  # where you ran `npm install jquery@3 signalr@2.4.3`

SHARED = {
    "/jquery.js": (scripts / "jquery/dist/jquery.min.js", "text/javascript"),
    "/jquery.signalR.js": (scripts / "signalr/jquery.signalR.min.js", "text/javascript"),
    "/hub_pages.js": (here / "hub_pages.js", "text/javascript; charset=utf-8"),
    "/hub_pages.css": (here / "hub_pages.css", "text/css; charset=utf-8"),
}


def add_hub_page(app: App, name: str) -> None:
    """Serve one of the pages in this folder at /, and beside it what it loads."""
    for path, (file, kind) in {"/": (here / name, "text/html; charset=utf-8"), **SHARED}.items():
        app.add_page(path, file.read_bytes(), kind)
