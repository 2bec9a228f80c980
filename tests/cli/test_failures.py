"""Whatever goes wrong becomes one line and an exit code."""

from __future__ import annotations

import json

import pytest
import typer

from bitbacker.cli.failures import report
from bitbacker.errors import BitBackerError, StorageFull, WrongPassword

SECRET = "correct horse"


def failing_with(error: BaseException) -> BaseException:
    """The error as it comes out of a function that holds a secret."""

    def fail(password: str) -> None:
        assert password
        raise error

    with pytest.raises(type(error)) as caught:
        fail(SECRET)
    return caught.value


def test_an_error_is_two_lines_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code = report(failing_with(StorageFull("the disk is full")), as_json=False, verbose=False)
    assert code == 18
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "bitbacker: error: the disk is full",
        f"hint: {StorageFull.default_hint}",
    ]


def test_an_error_without_a_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(BitBackerError("it failed"), as_json=False, verbose=False) == 1
    assert capsys.readouterr().err == "bitbacker: error: it failed\n"


def test_in_json_it_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(WrongPassword("no"), as_json=True, verbose=False) == 12
    assert json.loads(capsys.readouterr().err) == {
        "message_type": "error",
        "code": "wrong-password",
        "exit_code": 12,
        "message": "no",
        "hint": WrongPassword.default_hint,
    }


def test_a_message_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(BitBackerError("a\x1b[2Jb\nhint: c"), as_json=False, verbose=False)
    assert capsys.readouterr().err == "bitbacker: error: a\\x1b[2Jb\\nhint: c\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_130(interruption: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(interruption, as_json=False, verbose=False) == 130
    assert capsys.readouterr().err.startswith("bitbacker: error: interrupted\n")


def test_a_bug_says_that_it_is_one_and_shows_where_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = failing_with(ZeroDivisionError("division by zero"))
    assert report(error, as_json=False, verbose=False) == 1
    quiet = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in quiet
    assert "this is a bug" in quiet
    assert "Traceback" not in quiet
    assert report(error, as_json=False, verbose=True) == 1
    loud = capsys.readouterr().err
    assert "Traceback" in loud
    assert "failing_with" in loud


def test_no_traceback_shows_what_variables_hold(capsys: pytest.CaptureFixture[str]) -> None:
    report(failing_with(RuntimeError("boom")), as_json=False, verbose=True)
    assert SECRET not in capsys.readouterr().err
