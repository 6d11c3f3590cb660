"""``hash_folder.py FOLDER CACHE``: hashes every file of a folder, as ``loragit train`` does."""

import sys
from pathlib import Path

from loragit.dataset.files import list_files
from loragit.dataset.hashes import HashCache, hash_files

folder = Path(sys.argv[1])
hash_files(folder, list_files(folder), HashCache(Path(sys.argv[2])))
