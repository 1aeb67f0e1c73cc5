"""Who keeps a resource is said as one would write it."""

import sys
import types

import pytest

from desvelo.resources.reach import holder, reachable


class Client:
    pass


@pytest.fixture
def module(monkeypatch):
    one = types.ModuleType("shop_of_the_test")
    one.__file__ = __file__
    monkeypatch.setitem(sys.modules, one.__name__, one)
    return one


def test_an_attribute_of_a_module(module):
    module.SESSION = Client()
    assert holder(module.SESSION) == "the module shop_of_the_test, as SESSION"


def test_a_value_deep_below_a_module(module):
    module.CACHE = {"bread": Client()}
    module.CACHE["bread"].session = Client()
    kept = module.CACHE["bread"].session
    assert holder(kept) == "the module shop_of_the_test, as CACHE['bread'].session"


def test_a_class(module):
    module.Shop = type("Shop", (), {"session": Client(), "__module__": module.__name__})
    kept = module.Shop.session
    assert holder(kept) in {
        "the class shop_of_the_test.Shop, as session",
        "the class shop_of_the_test.Shop, as .session",
    }


def test_a_variable_of_a_suspended_coroutine():
    async def wait(client):
        await turn()

    @types.coroutine
    def turn():
        yield

    client = Client()
    coroutine = wait(client)
    coroutine.send(None)
    del client
    [kept] = [value for value in coroutine.cr_frame.f_locals.values() if type(value) is Client]
    ignored = [sys._getframe()]
    assert "the local variable" in holder(kept, ignored)
    coroutine.close()


def test_what_is_reached_stops_at_modules_classes_and_loops():
    client = Client()
    client.module, client.cls = sys, Client
    client.inner = [Client()]
    found = reachable([client])
    assert id(client.inner[0]) in found
    assert id(sys) not in found
    assert id(Client) not in found
