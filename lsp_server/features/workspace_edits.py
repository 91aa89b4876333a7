"""Changes as a ``WorkspaceEdit``: of one version of a document, undone in one step, confirmed if that is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types

from lsp_server.rewriting.changes import Change
from lsp_server.session import Session
from lsp_server.snapshot import DocumentSnapshot

_ANNOTATION = "lacuna"


def workspace_edit(
    session: Session,
    capabilities: types.ClientCapabilities,
    snapshot: DocumentSnapshot,
    changes: Sequence[Change],
    label: str,
) -> types.WorkspaceEdit:
    """``changes`` to ``snapshot`` in the editor's units.

    With the option ``confirmEdits`` an editor that can shows them before they are made. An editor that knows no
    ``documentChanges`` gets plain ``changes``.
    """
    edit = capabilities.workspace.workspace_edit if capabilities.workspace else None
    edits = [_text_edit(session, snapshot, change) for change in sorted(changes)]
    if not (edit and (edit.document_changes or edit.resource_operations)):  # Neovim tells of the latter only
        return types.WorkspaceEdit(changes={snapshot.uri: edits})
    document = types.OptionalVersionedTextDocumentIdentifier(uri=snapshot.uri, version=snapshot.version)
    if not (session.options.confirm_edits and edit.change_annotation_support):
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(document, edits)])
    annotated = [types.AnnotatedTextEdit(_ANNOTATION, one.range, one.new_text) for one in edits]
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(document, annotated)],
        change_annotations={_ANNOTATION: types.ChangeAnnotation(label=label, needs_confirmation=True)},
    )


def _text_edit(session: Session, snapshot: DocumentSnapshot, change: Change) -> types.TextEdit:
    start, end = (
        types.Position(*snapshot.lines.position(offset, session.encoding)) for offset in (change.start, change.end)
    )
    text = change.text.replace(snapshot.line_ending, "\n") if session.wants_lf else change.text
    return types.TextEdit(types.Range(start, end), text)
