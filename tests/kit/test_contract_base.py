"""A test of a conformance suite is run, or the suite says aloud that it is not."""

from __future__ import annotations

import pytest

from bitbacker.testing.contract import Contract, contract_tests, refuse_overrides


class Promises(Contract, kit=True):
    def test_one(self) -> None:
        assert self

    def test_two(self) -> None:
        assert self


def test_a_subclass_that_keeps_the_contract_is_collected_and_the_suite_is_not() -> None:
    class Kept(Promises):
        def test_of_its_own(self) -> None:
            assert self

    assert Kept.__test__
    assert not Promises.__test__
    assert set(contract_tests(Kept)) == {"test_one", "test_two", "test_every_test_of_the_contract_is_run"}


def test_an_overridden_test_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Overriding overrides test_one:"):

        class Overriding(Promises):
            def test_one(self) -> None:
                """Promise nothing."""


def test_a_removed_test_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Removing overrides test_two:"):

        class Removing(Promises):
            test_two = None  # type: ignore[assignment]  # the fault


def test_a_test_overridden_by_another_base_is_refused() -> None:
    class Beside:
        def test_one(self) -> None:
            """Promise nothing."""

    with pytest.raises(TypeError, match=r"Mixed overrides test_one:"):

        class Mixed(Beside, Promises):
            pass


def test_a_test_overridden_two_classes_below_is_refused() -> None:
    class Kept(Promises):
        pass

    with pytest.raises(TypeError, match=r"Below overrides test_one:"):

        class Below(Kept):
            def test_one(self) -> None:
                """Promise nothing."""


def test_the_check_itself_is_not_overridden() -> None:
    with pytest.raises(TypeError, match=r"test_every_test_of_the_contract_is_run"):

        class Unchecked(Promises):
            def test_every_test_of_the_contract_is_run(self) -> None:
                """Promise nothing."""


def test_a_test_replaced_later_is_noticed() -> None:
    class Later(Promises):
        pass

    refuse_overrides(Later)
    Later.test_one = None  # type: ignore[assignment,method-assign]  # the fault
    with pytest.raises(TypeError, match=r"Later overrides test_one:"):
        refuse_overrides(Later)


def test_an_expected_failure_with_a_reason_is_allowed() -> None:
    class Honest(Promises):
        @pytest.mark.xfail(reason="the storage cannot do it", strict=True)
        def test_one(self) -> None:
            super().test_one()

    assert Honest.__test__


@pytest.mark.parametrize(
    "mark", [pytest.mark.xfail, pytest.mark.xfail(reason=""), pytest.mark.skip(reason="slow")]
)
def test_a_mark_without_a_reason_or_a_skip_is_refused(mark: pytest.MarkDecorator) -> None:
    with pytest.raises(TypeError, match=r"Silent overrides test_one:"):

        class Silent(Promises):
            @mark
            def test_one(self) -> None:
                super().test_one()


def test_a_suite_may_refine_a_suite() -> None:
    class More(Promises, kit=True):
        def test_one(self) -> None:
            super().test_one()

        def test_three(self) -> None:
            assert self

    class Plugin(More):
        pass

    assert contract_tests(Plugin)["test_one"] is More.test_one
    assert "test_three" in contract_tests(Plugin)
    with pytest.raises(TypeError, match=r"Dropping overrides test_three:"):

        class Dropping(More):
            test_three = None  # type: ignore[assignment]  # the fault
