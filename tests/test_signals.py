"""Ctrl-C, SIGTERM and SIGHUP as a wish to end."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from edgessd import _signals
from edgessd._signals import WISHES, Stop, Stopped, raise_on_signals, stop_on_signals, stopped_by

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _python_has_a_handler_for_each():
    before = {number: signal.getsignal(number) for number in WISHES}
    _signals._counted[0] = -1e9
    for number in WISHES:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", WISHES)
def test_the_first_signal_is_a_wish_and_others_within_a_second_are_the_same_one(number):
    with stop_on_signals() as stop:
        assert not stop.is_set() and stop.signal is None
        for _ in range(3):
            signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # `timeout` ends a program and its group
        assert stop.is_set() and stop.signal == number
        with pytest.raises(Stopped) as caught:
            stop.check()
        assert caught.value.signal == number
    assert signal.getsignal(number) is signal.default_int_handler


def test_one_more_after_a_second_acts_as_without_us(monkeypatch):
    monkeypatch.setattr(_signals, "SECOND", 0.0)
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")


def test_an_ignored_signal_stays_ignored():  # nohup
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
    raise_on_signals()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_may_come_while_its_thread_holds_the_lock_of_the_event():
    stop = Stop()
    with stop._cond:
        stop.set()
    assert stop.wait(0)


def test_another_thread_waits_for_the_event():
    with stop_on_signals() as stop:
        seen = []
        thread = threading.Thread(target=lambda: seen.append(stop.wait(5)))
        thread.start()
        signal.raise_signal(signal.SIGTERM)
        thread.join(5)
        assert seen == [True]


def test_outside_of_the_main_thread_nothing_is_touched():
    found = []

    def work():
        with stop_on_signals() as stop:
            found.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert found == [(False, signal.default_int_handler)]


def test_signals_as_exceptions_let_everything_be_closed():
    closed = []
    raise_on_signals()
    with pytest.raises(Stopped) as caught:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # too early to count
            closed.append(True)
    assert closed == [True] and caught.value.signal == signal.SIGTERM


def test_a_signal_that_follows_at_once_is_the_same_wish_whoever_took_the_first():
    raise_on_signals()
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert stop.signal == signal.SIGTERM


def test_a_wish_within_a_wish_belongs_to_the_inner_one(monkeypatch):
    monkeypatch.setattr(_signals, "SECOND", 0.0)
    raise_on_signals()
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.signal == signal.SIGHUP
    with pytest.raises(Stopped), stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.001)
        signal.raise_signal(signal.SIGTERM)


def test_handlers_are_put_back():
    restore = raise_on_signals()
    restore()
    assert all(signal.getsignal(number) is signal.default_int_handler for number in WISHES)


def test_the_wish_is_found_behind_other_exceptions():
    try:
        try:
            raise Stopped(signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise SystemExit(130) from error
    except SystemExit as error:
        assert stopped_by(error).signal == signal.SIGTERM
    assert stopped_by(SystemExit(1)) is None


AT_THE_END = """
import os, signal, sys
from edgessd._signals import raise_on_signals
class Late:
    def __del__(self): os.kill(os.getpid(), signal.SIGHUP)
sys.modules["late"] = Late()  # goes when Python has put the default actions back
raise_on_signals()
try:
    signal.raise_signal(signal.SIGHUP)
except KeyboardInterrupt:
    print("kept")
"""


def test_the_second_of_two_signals_in_a_row_finds_python_ending():
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "kept\n")
