"""Layers of settings, and the switches that go over them."""

import pytest

from lsp_server.options import Options
from lsp_server.settings import Settings
from lsp_server.switches import MAX_SNOOZE_MINUTES, Switches


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_configuration_goes_over_the_start_s_options_and_may_be_taken_back() -> None:
    settings = Settings()
    assert settings.initialize({"candidates": 2, "debounceMs": 50}) == []
    assert settings.configure({"debounceMs": 0}) == []
    assert settings.options == Options(candidates=2, debounce_ms=0)
    assert settings.configure({}) == []
    assert settings.options == Options(candidates=2, debounce_ms=50)
    assert settings.configure(None) == []
    assert settings.options == Options(candidates=2, debounce_ms=50)


def test_a_problem_is_told_once_until_it_was_mended() -> None:
    settings = Settings()
    assert len(settings.configure({"debounceMs": -1, "color": "red"})) == 2
    assert settings.configure({"debounceMs": -1, "color": "red"}) == []
    assert len(settings.configure({"debounceMs": -1, "color": "red", "candidates": 0})) == 1
    assert settings.configure({"debounceMs": 1}) == []
    assert len(settings.configure({"debounceMs": -1})) == 1


def test_a_problem_of_the_start_is_not_told_again_by_the_configuration() -> None:
    settings = Settings()
    assert len(settings.initialize({"debounceMs": -1})) == 1
    for _ in range(2):
        assert len(settings.configure({"debounceMs": -1})) == 0


@pytest.mark.parametrize(
    ("raw", "trusted", "problems"),
    [(None, True, 0), ({}, True, 0), ({"trusted": False}, False, 0), ({"trusted": True}, True, 0)]
    + [({"trusted": value}, False, 1) for value in ("yes", 1, None)],
)
def test_trust_is_said_at_the_start(raw: object, trusted: bool, problems: int) -> None:
    settings = Settings()
    assert len(settings.initialize(raw)) == problems
    assert settings.trusted is trusted


def test_trust_is_never_a_setting() -> None:
    settings = Settings()
    settings.initialize({"trusted": False})
    assert "belongs to the machine or the user" in settings.configure({"trusted": True})[0]
    assert settings.trusted is False


def test_switches_turn_round_what_holds_and_outlive_the_settings() -> None:
    switches, options = Switches(), Options(disabled_languages=("go",))
    assert switches.apply(options) is not None
    assert switches.apply(options) == options
    switches.toggle(switches.apply(options), "go")
    switches.toggle(switches.apply(options), "python")
    assert switches.apply(options).disabled_languages == ("python",)
    assert switches.apply(Options(disabled_languages=("go", "sql"))).disabled_languages == ("sql", "python")
    switches.toggle(switches.apply(options), "python")
    assert switches.apply(options).disabled_languages == ()
    switches.toggle(switches.apply(options))
    assert not switches.apply(options).enabled
    assert not switches.apply(Options(enabled=True, candidates=2)).enabled
    switches.toggle(switches.apply(options), on=False)
    assert not switches.apply(options).enabled
    switches.toggle(switches.apply(options))
    assert switches.apply(Options(enabled=False)).enabled


def test_a_snooze_ends_by_itself_or_by_hand() -> None:
    clock = Clock()
    switches = Switches(clock)
    switches.snooze(10)
    assert switches.snoozed_until == 1600
    assert not switches.apply(Options()).enabled
    clock.now = 1600
    assert switches.snoozed_until is None
    assert switches.apply(Options()).enabled
    for end in (lambda: switches.snooze(0), lambda: switches.toggle(switches.apply(Options()))):
        switches.snooze(10)
        end()
        assert switches.apply(Options()).enabled
    switches.snooze(float("1e300"))
    assert switches.snoozed_until == 1600 + 60 * MAX_SNOOZE_MINUTES


def test_a_snooze_does_not_switch_on_what_was_off() -> None:
    switches = Switches()
    switches.toggle(Options(), on=False)
    switches.snooze(0)
    assert not switches.apply(Options()).enabled
