"""What the pages with @microsoft/signalr need: one script from npm, and the look that the examples share."""

from pathlib import Path

from persistconn import App

here = Path(__file__).parent
scripts = Path("node_modules")  # where you ran `npm install @microsoft/signalr`

SHARED = {
    "/signalr.js": (scripts / "@microsoft/signalr/dist/browser/signalr.min.js", "text/javascript"),
    "/signalr_pages.js": (here / "signalr_pages.js", "text/javascript; charset=utf-8"),
    "/hub_pages.css": (here / "hub_pages.css", "text/css; charset=utf-8"),
}


def add_signalr_page(app: App, name: str) -> None:
    """Serve one of the pages in this folder at /, and beside it what it loads."""
    for path, (file, kind) in {"/": (here / name, "text/html; charset=utf-8"), **SHARED}.items():
        app.add_page(path, file.read_bytes(), kind)
