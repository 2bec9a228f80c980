"""The base of every conformance suite: a promise that is in the suite is a promise that is tested.

A suite is a class that says `kit=True` and holds the tests of one contract::

    class CipherContract(Contract, kit=True):
        @pytest.fixture
        def cipher(self) -> Cipher:
            raise NotImplementedError

        def test_what_was_sealed_opens_again(self, cipher: Cipher) -> None: ...

A plugin's author subclasses it, overrides the fixture, and has the whole suite::

    class TestMyCipher(CipherContract):
        @pytest.fixture
        def cipher(self) -> Cipher:
            return MyCipher(MyCipher.Config())

pytest never collects the suite itself, whatever it is called and wherever it is imported, and always
collects the subclass.  Tests and fixtures may be added freely.  A test of the suite may not be
overridden or removed: the class statement fails.  A plugin that knowingly breaks a promise says so,
and the summary of every run repeats it::

        @pytest.mark.xfail(reason="the storage has no exclusive put", strict=True)
        def test_an_existing_name_is_never_changed(self, transport: Transport) -> None:
            super().test_an_existing_name_is_never_changed(transport)

Hypothesis tests of a suite wear `@promise_settings` or settings made from it.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings

from bitbacker.spi import API_VERSION

TEST_PREFIX = "test_"

promise_settings = settings(
    deadline=None,
    print_blob=True,
    # A suite is inherited by many classes on purpose, its fixtures build values without state, and a
    # busy machine is no fault of the plugin.
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
"""Settings for the Hypothesis tests of a suite."""


class Contract:
    """Base of the conformance suites; see the module's text."""

    __test__: ClassVar[bool] = False
    is_kit: ClassVar[bool] = True

    def __init_subclass__(cls, *, kit: bool = False, **kwargs: Any) -> None:
        """Raise `TypeError` when a test of a suite above `cls` is overridden without an xfail."""
        super().__init_subclass__(**kwargs)
        cls.is_kit = kit
        cls.__test__ = not kit
        refuse_overrides(cls)

    def test_every_test_of_the_contract_is_run(self) -> None:
        """Catch what is replaced after the class statement."""
        refuse_overrides(type(self))


def refuse_overrides(cls: type[Contract]) -> None:
    """Raise `TypeError` when `cls` does not run every test of its suites as the suites have it."""
    wrong = [name for name, promised in contract_tests(cls).items() if not _kept(cls, name, promised)]
    if wrong:
        raise TypeError(
            f"{cls.__qualname__} overrides {', '.join(wrong)}: a contract is kept whole, "
            "or a test of it is marked with pytest.mark.xfail(reason=...)"
        )


def assert_declared(plugin: Any) -> None:
    """Assert that a plugin declares the version of the contract and the schema of its configuration."""
    assert plugin.api_version == API_VERSION, f"api_version is not {API_VERSION}"
    assert is_dataclass(plugin.Config), "Config is not a dataclass"
    parameters: Any = getattr(plugin.Config, "__dataclass_params__")  # noqa: B009  # no type checker knows it
    assert parameters.frozen, "Config is not frozen"


def contract_tests(cls: type[Contract]) -> dict[str, Any]:
    """The tests that the suites above `cls` promise, by name; a suite may refine the suites it extends."""
    kits = [base for base in cls.__mro__ if base.__dict__.get("is_kit", False) and base is not cls]
    return {
        name: value
        for kit in reversed(kits)
        for name, value in vars(kit).items()
        if name.startswith(TEST_PREFIX)
    }


def _kept(cls: type[Contract], name: str, promised: Any) -> bool:
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    return found is promised or cls.is_kit or _is_reasoned_xfail(found)


def _is_reasoned_xfail(test: Any) -> bool:
    marks = getattr(test, "pytestmark", [])
    return callable(test) and any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
