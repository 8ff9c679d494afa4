from __future__ import annotations

import subprocess
import sys

IMPORT_ALL = """
import pkgutil, sys
import toolchain.network
for module in pkgutil.iter_modules(toolchain.network.__path__, "toolchain.network."):
    if module.name != "toolchain.network.backend":
        __import__(module.name)
print(sorted({"keras", "tensorflow", "tf_keras"} & set(sys.modules)))
"""


def test_tensorflow_comes_in_with_the_backend_only() -> None:
    found = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )

    assert found.stdout == "[]\n"
