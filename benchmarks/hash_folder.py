"""``hash_folder.py FOLDER CACHE``: hashes every file of a folder, as ``loragit train`` does."""

import sys
from pathlib import Path

from loragit.dataset.hashes import Cache, fingerprint, list_files

folder = Path(sys.argv[1])
fingerprint(folder, list_files(folder), Cache(Path(sys.argv[2])))
