"""The wheel, built here and installed into an empty environment elsewhere, does the main job from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "duologue"


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, encoding="utf-8", check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment: the wheel is installed, its requirements are borrowed from ours."""
    home = tmp_path_factory.mktemp("elsewhere") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    folder = home / ("Scripts" if os.name == "nt" else "bin")
    run(sys.executable, "-m", "pip", "--python", folder / "python", "install", "--no-deps", wheel, cwd=home.parent)
    (site,) = {path.parent for path in home.rglob("duologue") if path.is_dir()}
    # A line of a .pth file is put on the path, but the .pth files found there, that of our checkout too, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def test_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= held
    assert {"duologue/recipes/quickstart.toml", "duologue/data/builtin/arithmetic.py", "duologue/py.typed"} <= held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


def test_wheel_is_what_runs_there(scripts: Path, tmp_path: Path) -> None:
    shown = run(scripts / "python", "-c", "import duologue; print(duologue.__file__)", cwd=tmp_path).stdout
    assert Path(shown.strip()).is_relative_to(scripts.parent)


def test_wheel_runs_the_quickstart(scripts: Path, tmp_path: Path) -> None:
    run(scripts / "duologue", "quickstart", "--minutes", "0.1", "--no-serve", cwd=tmp_path)
    assert (tmp_path / "runs/quickstart/model/model.safetensors").is_file()
