"""Where the data that ships with the package lies: boards, firmware and examples."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Return the folder `name` (`boards`, `firmware_templates`, `examples`), or the file `LICENSE`.

    An installed wheel carries it inside the package, a checkout at its top level.
    """
    installed = _PACKAGE / "_data" / name
    return installed if installed.exists() else _PACKAGE.parent / name
