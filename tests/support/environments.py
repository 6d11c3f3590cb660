"""Virtual environments, and what editable installations leave in them."""

from __future__ import annotations

import venv
from pathlib import Path
from types import SimpleNamespace


class BareVenv(venv.EnvBuilder):
    """Without the scripts for shells, which take most of the time."""

    def setup_scripts(self, context: SimpleNamespace) -> None:
        pass


def make_venv(folder: Path) -> tuple[Path, Path]:
    BareVenv(symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    return folder / "bin/python", site


FINDER = """\
import sys
from importlib.util import spec_from_file_location
from pathlib import Path
MAPPING = {'lycoris': %r}
class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        for pkg, pkg_path in MAPPING.items():
            if fullname == pkg or fullname.startswith(f"{pkg}."):
                init = Path(pkg_path, *fullname.split(".")[1:], "__init__.py")
                return spec_from_file_location(fullname, init) if init.exists() else None
        return None
def install():
    sys.meta_path.append(_EditableFinder)
"""
