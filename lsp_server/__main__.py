"""``python -m lsp_server`` is ``lacuna``."""

from lsp_server.cli import main

main()
