"""``notebookDocument/*``: the cells of a notebook are documents of their own, and each knows those above it."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp_server.features.status import Status
from lsp_server.language_protocol import changes_of, snapshot_of
from lsp_server.session import Session

SYNC = types.NotebookDocumentSyncOptions(
    notebook_selector=[types.NotebookDocumentFilterWithNotebook(notebook="*")], save=True
)
"""Every notebook, with all of its cells."""


def register(server: LanguageServer, session: Session, status: Status) -> None:
    """Follow the editor's notebooks."""
    notebooks = session.notebooks

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenNotebookDocumentParams) -> None:
        notebooks.open(params.notebook_document.uri, [cell.document for cell in params.notebook_document.cells])
        for item in params.cell_text_documents:
            session.open_document(snapshot_of(item))

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeNotebookDocumentParams) -> None:
        cells = params.change.cells
        if cells is None:
            return
        if structure := cells.structure:
            array = structure.array
            added = [cell.document for cell in array.cells or ()]
            notebooks.splice(params.notebook_document.uri, array.start, array.delete_count, added)
            for item in structure.did_open or ():
                session.open_document(snapshot_of(item))
            for closed in structure.did_close or ():
                session.close_document(closed.uri)
            status.recheck()
        for content in cells.text_content or ():
            session.change_document(content.document.uri, changes_of(content.changes), content.document.version)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_SAVE)
    def saved(_: types.DidSaveNotebookDocumentParams) -> None:
        session.saved()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseNotebookDocumentParams) -> None:
        session.close_notebook(params.notebook_document.uri)
        for cell in params.cell_text_documents:
            session.close_document(cell.uri)
        status.recheck()
