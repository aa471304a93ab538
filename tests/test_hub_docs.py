"""The programs of the pages about hubs do what the pages say. `tests/interop/test_hub_examples.py` has their pages."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
import pytest

from persistconn import App, Settings
from tests.hubs.page import house

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PATIENCE = 10.0

Example: TypeAlias = Callable[[str], ModuleType]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Example]:
    """Imports a program of docs/examples afresh, in a folder where something stands in for the scripts from npm."""
    for script in ("jquery/dist/jquery.min.js", "signalr/jquery.signalR.min.js"):
        path = tmp_path / "node_modules" / script
        path.parent.mkdir(parents=True)
        path.write_text("// from npm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def calls(heard: list[Any]) -> list[tuple[str, list[Any]]]:
    """What was called on a page, and with what."""
    return [(message["M"], message["A"]) for message in heard]


NAMES = ["hub_chat", "shape_share", "stock_ticker", "progress", "empty_hub", "my_hub", "hub_objects", "hub_groups"]
NAMES += ["hub_authorize", "hub_dependencies", "hub_filters", "hub_errors", "hub_limits"]


@pytest.mark.parametrize("name", NAMES)
def test_every_hub_has_a_script(example: Example, name: str) -> None:
    (script,) = example(name).app.hub_scripts().values()
    assert "createHubProxies" in script


async def test_objects_in_both_directions(example: Example) -> None:
    order = json.loads((EXAMPLES / "order.json").read_text())
    async with house(example("hub_objects").app) as home:
        ann, bob = await home.page("PizzaHub"), await home.page("PizzaHub")
        assert (await ann.call("PizzaHub", "change", order))["R"] == 2
        assert calls(await bob.heard()) == [("orderChanged", [order])]
        spelt = {
            "order_id": order["orderId"],
            "ReadyAt": order["readyAt"],
            "pizzas": [{"ToppingName": "x", "size": "L"}],
        }
        assert (await ann.call("PizzaHub", "change", spelt))["R"] == 1
        assert (await ann.call("PizzaHub", "price", {"toppingName": "ham"}))["R"] == 9.5
        assert (await ann.call("PizzaHub", "price", {"toppingName": "ham", "size": "S"}, 2))["R"] == 14.0
        assert (await ann.call("PizzaHub", "favourite"))["R"] == {"topping_name": "mushrooms", "size": "S"}


async def test_a_transaction_ends_with_its_call(example: Example) -> None:
    module = example("hub_dependencies")
    async with house(module.app) as home:
        ann, bob = await home.page("BankHub", query="name=ann"), await home.page("BankHub", query="name=bob")
        assert (await ann.call("BankHub", "pay", 30))["R"] == 70
        assert (await ann.call("BankHub", "pay", 90))["E"] == "You have too little."
        assert (await bob.call("BankHub", "pay", 10))["E"] == "You have no account."
    assert module.BALANCES == {"ann": 70}


async def test_arguments_that_do_not_fit_run_nothing(example: Example, caplog: pytest.LogCaptureFixture) -> None:
    module = example("hub_objects")
    told = "There was an error invoking Hub method 'PizzaHub.price'."
    async with house(module.app) as home:
        ann = await home.page("PizzaHub")
        for arguments in (["ham"], [], [{"toppingName": "ham"}, 1, 2], [{"toppingName": "ham", "size": "XL"}]):
            answer = await ann.call("PizzaHub", "price", *arguments)
            assert answer == {"I": answer["I"], "E": told}
    assert {record.levelname for record in caplog.records if record.name == "persistconn.hubs"} == {"WARNING"}
    app = App(settings=Settings(detailed_errors=True))
    app.add_hubs("/signalr", module.PizzaHub)
    async with house(app) as home:
        ann = await home.page("PizzaHub")
        answer = await ann.call("PizzaHub", "price", {"toppingName": "ham", "size": "XL"})
        assert answer["E"] == "pizza: Invalid enum value 'XL' - at `$.size`"


async def test_groups(example: Example) -> None:
    module = example("hub_groups")
    async with house(module.app) as home:
        ann, bob = await home.page("NewsHub"), await home.page("NewsHub")
        for page in (ann, bob):
            await page.call("NewsHub", "follow", "chess")
        await ann.call("NewsHub", "publish", "chess", "Mate in two")
        await ann.call("NewsHub", "whisper", "chess", "I won")
        await bob.call("NewsHub", "unfollow", "chess")
        await ann.call("NewsHub", "publish", "chess", "Mate in one")
        told = [("news", ["chess", text]) for text in ("Mate in two", "I won", "Mate in one")]
        assert calls(await ann.heard()) == [told[0], told[2]]
        assert calls(await bob.heard()) == told[:2]
        await bob.call("NewsHub", "follow", "gossip")
        await ann.call("NewsHub", "publish", "gossip", "Nobody hears that")
        await ann.call("NewsHub", "follow", "ships")
        await module.storm(bob.id)
        assert calls(await ann.heard()) == [("news", ["ships", "A storm is coming."])]
        assert calls(await bob.heard()) == [("news", ["ships", "Stay where you are!"])]
        await ann.call("NewsHub", "publish", "ships", "Over.")
        assert calls(await bob.heard()) == [("news", ["ships", "Over."])]


def cookie(name: str) -> tuple[str, ...]:
    return (f"Cookie: theme=dark; key=key-of-{name}",)


async def test_authorization(example: Example, caplog: pytest.LogCaptureFixture) -> None:
    async with anyio.create_task_group() as tasks, house(example("hub_authorize").app) as home:
        home.state.spawn = tasks.start_soon  # who makes a request is asked in a task
        assert (await home.visitor("ArticleHub").negotiate())[0] == 401
        assert (await home.visitor("ArticleHub", headers=cookie("eve")).negotiate())[0] == 401
        bob = await home.page("ArticleHub", "AlarmHub", headers=cookie("bob"))
        ann = await home.page("ArticleHub", headers=cookie("ann"))
        nobody = await home.page("AlarmHub")
        assert (await ann.call("ArticleHub", "read"))["R"] == "Good morning, ann."
        assert "E" not in await ann.call("ArticleHub", "write", "news")
        assert calls(await bob.heard()) == [("written", ["news"])]
        assert "E" in await bob.call("ArticleHub", "write", "me, too")
        assert "E" in await ann.call("ArticleHub", "publish")
        assert "E" in await nobody.call("AlarmHub", "ring")
        assert "E" not in await bob.call("AlarmHub", "ring")
        assert calls(await nobody.heard()) == [("ringing", [])]
        office = await home.page("ArticleHub", headers=(*cookie("ann"), "X-Office: yes"))
        assert "E" not in await office.call("ArticleHub", "publish")


async def test_filters(example: Example, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with house(example("hub_filters").app) as home:
        page = await home.page("WordHub")
        assert (await page.call("WordHub", "translate", "  hus "))["R"] == "house"
        answer = await page.call("WordHub", "translate", "katt")
        assert (answer["E"], answer["H"]) == ("There is no 'katt'.", True)
    logged = [record.getMessage() for record in caplog.records if record.name == "calls"]
    assert [line.partition(":")[0] for line in logged] == ["translate by None"] * 2


async def test_errors(example: Example, caplog: pytest.LogCaptureFixture) -> None:
    async with house(example("hub_errors").app) as home:
        page = await home.page("BankHub")
        paid = await page.call("BankHub", "pay", 104)
        assert paid == {"I": "0", "E": "You have only 100.", "H": True, "D": {"missing": 4}}
        audited = await page.call("BankHub", "audit")
        assert audited == {"I": "1", "E": "There was an error invoking Hub method 'BankHub.audit'."}
    assert "1234" in caplog.text


async def test_limits(example: Example) -> None:
    app = example("hub_limits").app
    async with house(app) as home:
        page = await home.page("SearchHub")
        assert (await page.call("SearchHub", "find", "a", "b"))["R"] == 2
        assert (await page.call("SearchHub", "find", *"abcdefghi"))[
            "E"
        ] == "More than 8 arguments (max_call_arguments)."
        long = await page.call("SearchHub", "find", "x" * 1_000)
        assert (long["E"], long["H"]) == ("More than 1000 bytes in one argument (max_argument_size).", True)
        for _ in range(17):
            assert "E" not in await page.call("SearchHub", "find")
        assert app.statistics().reactions["max_argument_size"] == 1


async def test_a_thread_calls_the_clients(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    program = example("hub_thread")
    monkeypatch.setattr("sys.stdin", iter(["external test\n"]))

    def read_in_a_thread_without_an_event_loop() -> None:
        thread = threading.Thread(target=program.read_lines)
        thread.start()
        thread.join(PATIENCE)

    async with house(program.app) as home:
        page = await home.page("MyHub")
        await anyio.to_thread.run_sync(read_in_a_thread_without_an_event_loop)
        assert calls(await page.heard()) == [("alertMessage", ["external test"])]
    monkeypatch.setattr("sys.stdin", iter(["too late\n"]))
    await anyio.to_thread.run_sync(program.read_lines)  # returns: the server has stopped


async def test_a_layer_of_ones_own(example: Example) -> None:
    module = example("own_layer")
    async with house(module.app) as home:
        ann = await home.page(path="/questions", query="team=red")
        bob = await home.page(path="/questions", query="team=red")
        eve = await home.page(path="/questions", query="team=blue")
        ann.say('{"add": [1, 2.5]}')
        assert await bob.heard() == [{"asked": 2}]
        assert await ann.heard() == [] and ann.replies == [{"sum": 3.5}]
        assert await eve.heard() == []
        polling = await home.page(path="/questions", transport="longPolling", query="team=blue")
        assert await polling.send('{"add": [4]}') == (200, b'{"sum":4.0}')
        assert await polling.send("nonsense") == (400, b'Ask {"add": [numbers]}.')
        assert (await polling.send(json.dumps({"add": list(range(101))})))[0] == 400
        assert module.app.statistics().reactions == {"numbers": 1}
        assert (await home.visitor(path="/questions", query="team=green").negotiate())[0] == 404
