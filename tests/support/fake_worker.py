"""``python -m tests.support.fake_worker``: the real worker process around an engine without a model.

``LACUNA_FAKE_ENGINE`` names the folder with its script.
"""

import os
import sys
from pathlib import Path

from inference.__main__ import main
from tests.support.fake_engine import FolderEngine

if __name__ == "__main__":
    sys.exit(main(lambda options: FolderEngine(Path(os.environ["LACUNA_FAKE_ENGINE"]))))
