"""``python -m roiextractors_core.registry [plugins]`` writes the catalogue of the plugins in this repository."""

import sys
from pathlib import Path

from .catalogue import CATALOGUE, catalogue_text

CATALOGUE.write_text(catalogue_text(Path(sys.argv[1] if len(sys.argv) > 1 else "plugins")), encoding="utf-8")
