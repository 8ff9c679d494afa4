"""The warnings that C of ours compiles without, as flags of GCC and Clang."""

from __future__ import annotations

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
