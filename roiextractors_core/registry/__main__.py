"""``python -m roiextractors_core.registry`` writes the catalogue: the plugins of this repository, and those of others."""

import sys
from pathlib import Path

from .catalogue import CATALOGUE, catalogue_text

folders = sys.argv[1:] or ("plugins", "catalogue")
CATALOGUE.write_text(catalogue_text(*map(Path, folders)), encoding="utf-8")
