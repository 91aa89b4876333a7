"""Settings while the server runs: the editor's configuration, asked for or sent, and what the user switches."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from lsp_server.features.status import Status
from lsp_server.options import SECTION
from lsp_server.session import Session
from lsp_server.settings import as_plain

TOGGLE = "lacuna.toggle"
SNOOZE = "lacuna.snooze"
_ANSWER_LIMIT_S = 10.0
_SNOOZE_MINUTES = 30.0

_log = logging.getLogger(__name__)


class Configuration:
    """Keeps ``session.options`` up to date. Lives on the event loop."""

    def __init__(self, server: LanguageServer, session: Session, status: Status) -> None:
        self._server = server
        self._session = session
        self._status = status
        self._pulls = 0
        self._waking: asyncio.TimerHandle | None = None

    def initialize(self, raw: object) -> None:
        """Take in ``initializationOptions``."""
        self._tell(self._session.settings.initialize(raw))
        self._session.options = self._session.settings.options

    async def follow(self) -> None:
        """Ask for the configuration now, and to be told when it changes, if the editor can do either."""
        workspace = self._server.client_capabilities.workspace
        changes = workspace and workspace.did_change_configuration
        if changes and changes.dynamic_registration:
            wish = types.Registration(
                id="lacuna-configuration",
                method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
                register_options={"section": SECTION},
            )
            await asked(self._server.client_register_capability_async(types.RegistrationParams([wish])))
        await self.pull()

    async def changed(self, sent: object) -> None:
        """Take in what ``workspace/didChangeConfiguration`` carries; ask if it carries nothing of ours."""
        settings = as_plain(sent)
        if isinstance(settings, dict) and SECTION in settings:
            self._pulls += 1  # what was asked for before is older than this
            self._take(settings[SECTION])
        else:
            await self.pull()

    async def pull(self) -> None:
        """Ask for the section, if the editor can be asked; a later answer is not overtaken by an earlier one."""
        workspace = self._server.client_capabilities.workspace
        if not (workspace and workspace.configuration):
            return
        self._pulls += 1
        mine = self._pulls
        item = types.ConfigurationItem(section=SECTION)
        answer = await asked(self._server.workspace_configuration_async(types.ConfigurationParams([item])))
        if mine == self._pulls and isinstance(answer, (list, tuple)) and answer:
            self._take(as_plain(answer[0]))

    def apply(self) -> None:
        """Let hold what settings and switches say now, and come back when a snooze ends."""
        session = self._session
        session.options = session.settings.options
        if self._waking:
            self._waking.cancel()
            self._waking = None
        if until := session.settings.switches.snoozed_until:
            self._waking = asyncio.get_running_loop().call_later(max(until - time.time(), 0) + 0.01, self.apply)
        self._status.recheck()

    def _take(self, raw: object) -> None:
        self._tell(self._session.settings.configure(raw))
        self.apply()

    def _tell(self, problems: list[str]) -> None:
        for problem in problems:
            self._server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, f"Lacuna: {problem}"))


async def asked(request: Any) -> Any:
    """What the editor answers; None if it refuses or takes too long, which must trouble nobody."""
    try:
        return await asyncio.wait_for(request, _ANSWER_LIMIT_S)
    except Exception as error:
        _log.info("the editor refuses: %s", type(error).__name__)
        return None


def register(server: LanguageServer, session: Session, status: Status) -> Configuration:
    """Follow the configuration; offer ``lacuna.toggle`` and ``lacuna.snooze``."""
    configuration = Configuration(server, session, status)
    switches = session.settings.switches

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def changed(params: types.DidChangeConfigurationParams) -> None:
        await configuration.changed(params.settings)

    @server.command(TOGGLE)
    def toggle(*arguments: Any) -> dict[str, Any]:
        match arguments:
            case []:
                language, on = None, None
            case [str(language)]:
                on = None
            case [{**wish}] if wish.keys() <= {"language", "enabled"}:
                language, on = wish.get("language"), wish.get("enabled")
            case _:
                language, on = 0, None
        if not isinstance(language, str | None) or not isinstance(on, bool | None):
            raise _bad(f"{TOGGLE} takes nothing, a language id, or an object with 'language' and 'enabled'")
        switches.toggle(session.options, language, on)
        configuration.apply()
        return status.current()

    @server.command(SNOOZE)
    def snooze(*arguments: Any) -> dict[str, Any]:
        match arguments:
            case []:
                minutes = _SNOOZE_MINUTES
            case [{"minutes": int() | float() as minutes}] if not isinstance(minutes, bool) and minutes >= 0:
                pass
            case _:
                raise _bad(f"{SNOOZE} takes an object with 'minutes', a number from 0 on")
        switches.snooze(minutes)
        configuration.apply()
        return status.current()

    return configuration


def _bad(sentence: str) -> JsonRpcInvalidParams:
    return JsonRpcInvalidParams(sentence)
