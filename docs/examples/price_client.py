"""A client that somebody wrote: it asks a hub for prices, and hears of new ones."""

import json
from urllib.request import Request, urlopen

from websockets.sync.client import connect


class Prices:
    def __init__(self, url, timeout=5):
        with urlopen(Request(f"{url}/negotiate?negotiateVersion=1", b"", method="POST"), timeout=timeout) as answer:
            token = json.load(answer)["connectionToken"]
        self.timeout = timeout
        self.socket = connect(f"ws{url.removeprefix('http')}?id={token}", close_timeout=timeout)

    def __enter__(self):
        self.socket.__enter__()
        self.say({"protocol": "json", "version": 1})
        self.hear()
        return self

    def __exit__(self, *error):
        return self.socket.__exit__(*error)

    def say(self, message):
        self.socket.send(json.dumps(message) + "\x1e")

    def hear(self):
        return json.loads(self.socket.recv(self.timeout).rstrip("\x1e"))

    def price_of(self, what):
        self.say({"type": 1, "invocationId": "1", "target": "priceOf", "arguments": [what]})
        answer = self.hear()
        if "error" in answer:
            raise LookupError(answer["error"])
        return answer["result"]

    def next_change(self):
        return self.hear()["arguments"]
