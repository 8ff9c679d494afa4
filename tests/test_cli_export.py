"""`shelfcast export` as its user runs it."""

from __future__ import annotations

import json
import subprocess


def test_a_deployed_project_is_exported_with_its_verdict(deployed_copy):
    result = deployed_copy.run("export", "--format", "make", "--name", "shop", "--json")
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    folder = deployed_copy.folder / values["folder"]
    (path,) = deployed_copy.folder.glob("runs/small/*/validation.json")
    verdict = json.loads(path.read_text())
    readme = (folder / "README.md").read_text()
    assert verdict["model_crc"] in readme
    assert f"| {verdict['board']} (emulated, not measured on hardware) | 60 | 0 |" in readme
    assert f"| {verdict['accuracy']['device']['mae']:.4f} |" in readme
    assert "clamped to 4.0 deviations" in readme
    subprocess.run(["make", "-s", "-C", folder, "example"], check=True)
    subprocess.run([folder / "build/example"], check=True)


def test_what_export_cannot_do_is_one_line(shell):
    for arguments, words in (
        (("none.tflite",), "none.tflite"),
        (("--core", "cortex-m1"), "did you mean"),
        (("--core", "cortex-m4", "--board", "microbit"), "name one of them"),
    ):
        result = shell.run("export", *arguments)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
