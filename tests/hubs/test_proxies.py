"""The text of the generated script; what it does in a browser is in tests/interop/test_hub_proxies.py."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess

import pytest

from persistconn import ConfigurationError
from persistconn.hubs.names import HubShape, MethodShape
from persistconn.hubs.proxies import TAKEN_NAMES, disabled_script, script

NASTY = ["</script>", "<!--", '"', "\\", "\n", "\u2028\u2029", "*/", "größe", "__HUBS__", "\ud800", "'"]


def hub(name: str = "MyHub", *methods: MethodShape, script_name: str | None = None) -> HubShape:
    return HubShape(name, script_name or name[0].lower() + name[1:], methods)


def method(name: str, *parameters: str, script_name: str | None = None) -> MethodShape:
    return MethodShape(name, script_name or name, parameters)


def literal(text: str) -> str:
    """The object literal of the hubs."""
    return text.partition("  var hubs = ")[2].partition(";\n\n")[0]


def refusal(*hubs: HubShape) -> str:
    with pytest.raises(ConfigurationError) as caught:
        script("/signalr", hubs)
    return str(caught.value)


def test_a_hub_with_its_methods():
    text = script("/signalr", [hub("MyHub", method("Send", "user", "text", script_name="send"), method("leave"))])
    assert (
        literal(text)
        == """{
    "myHub": {
      name: "MyHub",
      methods: {
        /**
         * myHub.send(user, text)
         * @param user
         * @param text
         */
        "send": "Send",
        /**
         * myHub.leave()
         */
        "leave": "leave"
      }
    }
  }"""
    )
    assert '$.hubConnection("/signalr", { useDefaultPath: false })' in text
    assert text.startswith("/*\n") and text.endswith("}(window.jQuery));\n")


def test_no_hubs_and_no_methods():
    assert literal(script("/signalr", [])) == "{}"
    assert "methods: {}\n" in script("/signalr", [hub()])


def test_the_same_hubs_give_the_same_text():
    methods = [method("c"), method("a"), method("b")]
    texts = {
        script("/signalr", [hub(name, *order) for name in names])
        for names in itertools.permutations(["Zoo", "Ape", "cat"])
        for order in itertools.permutations(methods)
    }
    (text,) = texts
    assert re.findall(r'name: "(\w+)"', text) == ["Ape", "Zoo", "cat"]
    assert re.findall(r' {8}"(\w+)": ', text) == ["a", "b", "c"] * 3


def test_the_style_of_the_article_can_be_left_out():
    on, off = script("/signalr", [hub()]), script("/signalr", [hub()], article_style=False)
    assert on.replace("var articleStyle = true;", "var articleStyle = false;") == off != on


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/signalr", "/signalr"),
        ("/signalr/", "/signalr"),
        ("/", "/."),
        ("", "/."),
        ("/a/b c", "/a/b c"),
        ("https://example.org/rt", "https://example.org/rt"),
    ],
)
def test_where_the_hubs_are(path, url):
    assert f'$.hubConnection("{url}", {{' in script(path, [])


@pytest.mark.parametrize("nasty", NASTY)
def test_no_name_and_no_path_gets_out_of_its_string(nasty):
    text = script(nasty, [hub(nasty, method(nasty, nasty, script_name=nasty), script_name=nasty)])
    plain = script("/x", [hub("x", method("x", "x"))])
    assert len(text.splitlines()) == len(plain.splitlines())
    assert not any(each in text for each in ("</", "<!--", "\u2028", "\u2029"))
    assert all(line in (" */", "         */") for line in text.splitlines() if "*/" in line and '"' not in line)
    strings = [json.loads(found) for found in re.findall(r'"(?:[^"\\]|\\.)*"', literal(text))]
    assert strings == [nasty] * 4
    assert re.sub(r"(?m)^ *\*.*$", "", text).isascii()


@pytest.mark.skipif(shutil.which("node") is None, reason="platform: there is no Node.js to read JavaScript")
@pytest.mark.parametrize("article_style", [True, False])
def test_it_is_javascript(article_style):
    everything = [hub(f"Hub{n}", method(f"{nasty}{n}", nasty)) for n, nasty in enumerate(NASTY)]
    for text in (script("/signalr", everything, article_style=article_style), disabled_script()):
        check = ["node", "-e", "new Function(require('fs').readFileSync(0, 'utf8'))"]
        result = subprocess.run(check, input=text.encode(), capture_output=True)
        assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("name", sorted(TAKEN_NAMES))
def test_a_hub_cannot_be_what_the_library_has(name):
    assert refusal(hub("Mine"), hub("Taken", script_name=name)) == (
        f"hub 'Taken' would be $.connection.{name} in JavaScript, which is something else there:"
        " call it otherwise with @hub_name"
    )


def test_two_hubs_of_one_name():
    said = "would both be {} for a client: call one of them otherwise with @hub_name"
    one = refusal(hub("chat", script_name="a"), hub("Chat", script_name="b"))
    assert one == f"hubs 'Chat' and 'chat' {said.format('chat')}"
    two = refusal(hub("my_chat", script_name="myChat"), hub("MyChat"))
    assert two == f"hubs 'MyChat' and 'my_chat' {said.format('$.connection.myChat')}"


def test_two_methods_of_one_name():
    assert refusal(hub("MyHub", method("Send", script_name="send"), method("send"))) == (
        "methods 'Send' and 'send' of hub 'MyHub' would both be send in JavaScript:"
        " call one of them otherwise with @method_name"
    )


def test_a_method_that_cannot_be_a_member():
    assert "method 'x' of hub 'MyHub' would be __proto__" in refusal(hub("MyHub", method("x", script_name="__proto__")))


def test_methods_may_be_called_what_proxies_have():
    names = ["on", "off", "invoke", "state", "client", "server", "toString", "constructor", "hub"]
    text = script("/signalr", [hub("MyHub", *map(method, names))])
    assert all(f'"{name}": "{name}"' in text for name in names)


def test_a_script_for_where_there_is_none():
    assert 'throw new Error("SignalR: JavaScript Hub proxy generation has been disabled.");' in disabled_script()
