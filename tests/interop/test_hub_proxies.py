"""The generated script in Chromium: jquery.signalR 2.4.3 speaks through it with hubs that are played by a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from persistconn.hubs.proxies import TAKEN_NAMES

from .played_hubs import HubPage, Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.own_server("about the generated script: its hubs are played in a thread of the test")

OpenPage = Callable[..., HubPage]


@pytest.fixture(scope="module")
def played(node_modules: Path) -> Iterator[Server]:
    server = Server(node_modules)
    yield server
    server.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def open_hubs(context: BrowserContext, played: Server) -> Iterator[OpenPage]:
    pages: list[HubPage] = []

    def open_hubs(path: str = "/") -> HubPage:
        pages.append(HubPage(context, played, path))
        return pages[-1]

    played.hubs.answers = []
    yield open_hubs
    for each in pages:
        each.page.close()
    assert (played.hubs.heard.empty(), played.hubs.connected.empty()) == (True, True)


# The library ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/no-library", "/no-jquery"])
def test_without_the_library_the_console_says_what_to_do(open_hubs: OpenPage, path: str) -> None:
    (error,) = open_hubs(path).errors
    assert "SignalR is not loaded. This script needs jQuery and jquery.signalR.js" in error


def test_every_name_that_the_library_has_is_refused_for_hubs(open_hubs: OpenPage) -> None:
    page = open_hubs("/plain")
    names = """() => {
        const names = [];
        for (let o = $.signalR; o; o = Object.getPrototypeOf(o)) names.push(...Object.getOwnPropertyNames(o));
        return names;
    }"""
    assert set(page.page.evaluate(names)) - {"myHub", "other"} == TAKEN_NAMES


def test_it_may_stand_in_the_page(open_hubs: OpenPage) -> None:
    page = open_hubs("/inside")
    page.start()
    page.run("c.server['Exact Name</script>']()")
    assert page.server.next_call()["M"] == "Exact Name</script>"
    assert page.errors == []


def test_included_twice_the_second_counts(open_hubs: OpenPage) -> None:
    page = open_hubs("/twice")
    page.run("c.client.alertMessage = s => say(s)")
    assert page.start() == ["myhub"]
    assert page.call("alertMessage", "once") == ["once"]


# .server and .client ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/plain"])
def test_server_and_client(open_hubs: OpenPage, path: str) -> None:
    page = open_hubs(path)
    page.run("c.client.alertMessage = function (...words) { say(this === c, ...words); }")
    page.run("bound = []; on = c.on; c.on = function () { bound.push(arguments); return on.apply(c, arguments); }")
    assert page.start() == ["myhub"]
    assert page.run("return bound[0][0] === 'alertMessage' && bound[0][2] === c.client.alertMessage")
    assert page.call("alertMessage", "a", 2) == ["true a 2"]
    assert page.run("return await c.server.increment(1)") == 2
    assert page.server.next_call() == {"H": "myhub", "M": "increment", "A": [1], "I": 0}
    page.run("c.server.toString(1, undefined, null); c.server.on([1], [[2]])")
    assert page.server.next_call()["A"] == [1, None, None]
    assert page.server.next_call()["A"] == [[1], [[2]]]


def test_without_the_article_s_style_nothing_else_is_there(open_hubs: OpenPage) -> None:
    page = open_hubs("/plain")
    page.run("c.alertMessage = () => say('no'); c.user = 'ann'")
    assert page.start() == []
    assert page.run("return [typeof c.increment, typeof c.server.increment]") == ["undefined", "function"]
    page.run("c.server.increment(1)")
    assert "S" not in page.server.next_call()


def test_a_connection_of_the_page_s_own(open_hubs: OpenPage) -> None:
    page = open_hubs("/")
    page.run("""
        const connection = $.hubConnection('/signalr', { useDefaultPath: false }), mine = connection.createHubProxies();
        if (connection.createHubProxies() !== mine) throw new Error('others');
        mine.other.client.hello = () => {};
        await connection.start();
        mine.other.server.ping();
    """)
    assert page.server.hubs.connected.get(timeout=15)[1] == ["other"]
    assert page.server.next_call()["H"] == "other"


# The article's own style ------------------------------------------------------------------------


def test_the_page_of_the_article(open_hubs: OpenPage) -> None:
    """Calls before the start, too, as it is written there."""
    page = open_hubs()
    page.run("""
        c.alertMessage = function (s) { say(this === c, s); };
        c.increment(1).done(function (v) { say('done', this === c, v); });
        $.connection.hub.start();
    """)
    assert page.server.next_call() == {"H": "myhub", "M": "increment", "A": [1], "I": 0}
    page.id, named = page.server.hubs.connected.get(timeout=15)
    assert named == ["myhub"]
    page.page.wait_for_function("said.length === 1")
    assert page.page.evaluate("said") == ["done true 2"]
    assert page.call("alertMessage", "hi") == ["true hi"]


def test_calls_before_a_start_that_fails_fail(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.page.route("**/negotiate*", lambda route: route.abort())
    failure = page.run("""
        const call = c.increment(1);
        $.connection.hub.start().fail(() => say('start'));
        return await call.then(() => 'done', error => error.message);
    """)
    assert "disconnected before" in failure
    assert page.run("try { c.increment(1); } catch (error) { return error.message; }").startswith("SignalR: Connection")
    page.page.unroute("**/negotiate*")
    page.start()
    assert page.run("return await c.increment(5)") == 6
    assert page.server.next_call()["A"] == [5]


def test_a_call_that_cannot_be_written_fails_alone(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.run("""
        const circle = {}; circle.circle = circle;
        calls = [c.increment(circle).then(() => 'done', error => error.message), c.increment(1)];
    """)
    page.start()
    said = page.page.evaluate("Promise.all(calls)")
    assert ("circular" in said[0], said[1]) == (True, 2)
    assert page.server.next_call()["A"] == [1]


def test_a_trailing_function_gets_the_result_first(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.start()
    page.run("await c.increment(1, function (v) { say('first', this === c, v); }).done(v => say('then', v))")
    assert page.server.next_call()["A"] == [1]
    assert page.page.evaluate("said") == ["first true 2", "then 2"]
    page.server.hubs.answers = [{"E": "no"}]
    said = page.run("return await c.both(() => say('wrong')).then(() => 'wrong', error => error.message)")
    assert (said, page.server.next_call()["A"]) == ("no", [])
    assert page.page.evaluate("said.length") == 2


def test_names_that_the_proxy_needs_itself(open_hubs: OpenPage) -> None:
    page = open_hubs()
    assert page.run("return [c.on === c.server.on, c.toString === c.server.toString, c.both === c.server.both]") == [
        False,
        False,
        True,
    ]
    page.run("c.both = () => say('method'); c.toString = () => 'c'; c.hasSubscriptions = c.hasSubscriptions")
    assert page.start() == []  # nothing of that is a callback
    page.run("c.on('told', () => {}); c.client.both = () => say('client')")
    page.stop()
    page.start()
    assert page.call("both") == ["client"]


def test_both_styles_in_one_page(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.run("""
        c.alertMessage = s => say('proxy', s);
        c.client.alertMessage = s => say('client', s);
        c.same = c.client.Same = s => say('same', s);
        $.connection.other.hello = s => say('other', s);
    """)
    assert sorted(page.start()) == ["myhub", "other"]
    assert page.call("ALERTMESSAGE", 1) == ["client 1", "proxy 1"]
    assert page.call("same", 2) == ["same 2"]
    assert page.run("return await c.server.increment(await c.increment(1))") == 3
    assert [page.server.next_call()["A"] for _ in "ab"] == [[1], [2]]


def test_restarts(open_hubs: OpenPage) -> None:
    """No callback twice; what was put there meanwhile counts, what was taken away does not."""
    page = open_hubs()
    page.run("""
        c.client.b = c.a = $.connection.other.a = s => say('first', s);
        c.client.d = s => say('d', s);
        c.kept = s => say('kept', s);
    """)
    page.start()
    page.run("c.on('a', s => say('on', s))")
    for number in range(3):
        assert sorted(page.call("a", number)) == [f"first {number}", f"on {number}"]
        assert page.call("b", number) == [f"first {number}"]
        page.stop()
        page.start()
    page.stop()
    page.run("c.a = s => say('second', s); delete c.client.b; delete c.client.d; c.client.e = s => say('e', s)")
    page.start()
    assert sorted(page.call("a", 9)) == ["on 9", "second 9"]
    assert (page.call("b", 9), page.call("d", 9)) == ([], [])
    assert (page.call("e", 9), page.call("kept", 9)) == (["e 9"], ["kept 9"])
    page.run("c.a = s => say('third', s); c.client.e = null; delete c.kept")  # while it is connected
    assert sorted(page.call("a", 10)) == ["on 10", "third 10"]
    assert (page.call("e", 10), page.call("kept", 10)) == ([], [])


# State ------------------------------------------------------------------------------------------


def test_members_travel_as_state(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.run("c.user = 'ann'; c.tries = 1; c.box = $('body'); c.node = document.body; c.hear = () => say(c.tries)")
    page.start()
    page.server.hubs.answers = [{"S": {"tries": 2, "color": "red"}}]
    assert page.run("return await c.increment(1).then(() => [c.tries, c.color, c.state.tries])") == [2, "red", 2]
    assert page.server.next_call()["S"] == {"user": "ann", "tries": 1}

    assert page.call("hear", S={"tries": 3}) == ["3"]  # there when the callback runs
    page.call("nobody", S={"tries": 4})  # and when there is none
    assert page.run("return c.tries") == 4
    page.run("delete c.color; c.user = { name: 'bob' }; c.increment(1)")
    assert page.server.next_call()["S"] == {"user": {"name": "bob"}, "tries": 4}
    assert page.run("return c.state") == {"user": {"name": "bob"}, "tries": 4}


def test_what_the_page_changed_meanwhile_stays(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.run("c.mine = 1; c.theirs = 1; c.hear = () => {}; c.gone = 1")
    page.start()
    page.server.hubs.answers = [{"S": {"mine": 7, "theirs": 7, "gone": 7, "both": 7, "on": 7, "hear": 7}}]
    page.run("const call = c.increment(1); c.mine = 2; delete c.gone; await call")
    assert page.server.next_call()["S"] == {"mine": 1, "theirs": 1, "gone": 1}
    assert page.run("return [c.mine, c.theirs, typeof c.gone]") == [2, 7, "undefined"]
    assert page.run("return [typeof c.both, typeof c.on, typeof c.hear]") == ["function"] * 3
    page.run("c.increment(1)")
    assert page.server.next_call()["S"] == {"mine": 2, "theirs": 7, "both": 7, "on": 7, "hear": 7}


def test_state_in_the_newer_style_works_as_ever(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.start()
    for change, wanted in (
        ("c.state.x = 1", {"x": 1}),
        ("c.state.x = 2; c.state.y = 1", {"x": 2, "y": 1}),
        ("c.y = 5", {"x": 2, "y": 5}),
        ("delete c.state.x", {"y": 5}),
        ("c.state = { z: 1 }", {"z": 1}),
    ):
        page.run(f"{change}; c.server.increment(1)")
        assert page.server.next_call()["S"] == wanted


def test_progress_brings_state_too(open_hubs: OpenPage) -> None:
    page = open_hubs()
    page.start()
    page.server.hubs.answers = [{"I": "P|0", "P": {"I": "0", "D": 50}, "S": {"at": "half"}}]
    page.run("c.both().progress(function (n) { say(this === c, n, c.at); })")
    page.server.next_call()
    page.page.wait_for_function("said.length === 1")
    assert page.page.evaluate("said") == ["true 50 half"]
