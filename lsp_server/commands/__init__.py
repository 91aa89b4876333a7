"""One module per command of ``lacuna``: ``add_parser`` registers it, ``run`` returns the exit code."""
