"""The folders of a window and whether they are trusted: what they let be read is decided in ``Exclusions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.exclusions.exclusions import Exclusions
from lsp_server.features.configuration import asked
from lsp_server.features.status import Status
from lsp_server.session import Session
from lsp_server.uris import folder_of

TRUST = "lacuna/didChangeTrust"
_IGNORE_FILES = ("**/.gitignore", "**/.lacunaignore")


class Workspace:
    """Makes ``session.exclusions`` anew whenever something it depends on has changed."""

    def __init__(self, server: LanguageServer, session: Session, status: Status) -> None:
        self._server = server
        self._session = session
        self._status = status
        self._folders: dict[Path, None] = {}

    def initialize(self, params: types.InitializeParams) -> None:
        """Take in the folders; ``rootUri`` and then ``rootPath`` stand in for editors that name none."""
        uris = [folder.uri for folder in params.workspace_folders or ()]
        if not uris and params.root_uri:
            uris = [params.root_uri]
        folders = [folder_of(uri) for uri in uris]
        if not uris and params.root_path:
            folders = [Path(params.root_path)]
        self._folders = {folder: None for folder in folders if folder is not None and folder.is_absolute()}
        self.renew()

    async def follow(self) -> None:
        """Ask to be told when ignore files change, if the editor can do that."""
        workspace = self._server.client_capabilities.workspace
        watching = workspace and workspace.did_change_watched_files
        if watching and watching.dynamic_registration:
            watchers = [types.FileSystemWatcher(glob_pattern=pattern) for pattern in _IGNORE_FILES]
            wish = types.Registration(
                id="lacuna-ignore-files",
                method=types.WORKSPACE_DID_CHANGE_WATCHED_FILES,
                register_options=types.DidChangeWatchedFilesRegistrationOptions(watchers),
            )
            await asked(self._server.client_register_capability_async(types.RegistrationParams([wish])))

    def folders_changed(self, event: types.WorkspaceFoldersChangeEvent) -> None:
        """Some folders left the window, some came."""
        for folder in event.removed:
            if path := folder_of(folder.uri):
                self._folders.pop(path, None)
        for folder in event.added:
            if path := folder_of(folder.uri):
                self._folders[path] = None
        self.renew()

    def trust_changed(self, trusted: bool) -> None:
        """The user has come to trust the workspace, or trusts it no longer."""
        self._session.settings.trusted = trusted
        self.renew()

    def renew(self) -> None:
        """Forget what ignore files said."""
        session = self._session
        session.exclusions = Exclusions(tuple(self._folders), trusted=session.settings.trusted)
        self._status.recheck()


def register(server: LanguageServer, session: Session, status: Status) -> Workspace:
    """Follow the window's folders, its ignore files and its trust."""
    workspace = Workspace(server, session, status)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        workspace.folders_changed(params.event)

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def files(_: types.DidChangeWatchedFilesParams) -> None:
        workspace.renew()

    @server.feature(TRUST)
    def trust(params: Any) -> None:
        workspace.trust_changed(getattr(params, "trusted", None) is True)

    return workspace
