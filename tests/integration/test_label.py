"""``polywheel label`` and ``unlabel`` with wheels of every backend and from PyPI."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from twine.exceptions import InvalidDistribution
from twine.package import PackageFile

from support.builds import build_wheel, downloaded_wheel, read_wheel, run
from support.commands import polywheel
from support.process_tree import descendants, parents, state
from support.projects import ROOT, example

BACKENDS = ("meson", "scikit-build-core", "setuptools", "hatchling", "flit-core")
LEVEL = ["-p", "x86_64::level::v3"]
PROVIDER = [
    "--provider",
    "x86_64=provider-variant-x86-64@provider_variant_x86_64.plugin:X8664Plugin",
]
LABEL = [*LEVEL, *PROVIDER, "--no-validate"]
PROJECTS = ("six==1.17.0", "markupsafe==3.0.3", "idna==3.10", "rpds-py==0.30.0", "contourpy==1.3.3")
"""Made by setuptools (two of them), flit, maturin and meson-python."""


@pytest.fixture(scope="session")
def plain_wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The non-variant wheel of each example."""
    folder = tmp_path_factory.mktemp("plain")
    return {name: build_wheel(example(name, folder), folder / f"{name}-out") for name in BACKENDS}


@pytest.fixture(scope="session")
def from_pypi() -> dict[str, Path]:
    """Wheels that others built, for this Python, kept between runs."""
    return {project.partition("==")[0]: downloaded_wheel(project) for project in PROJECTS}


def described(path: Path) -> list[tuple[object, ...]]:
    """What stands in a wheel: names, contents, modes and times, in order."""
    with zipfile.ZipFile(path) as archive:
        return [
            (one.filename, one.CRC, one.file_size, one.date_time, one.external_attr)
            for one in archive.infolist()
        ]


def by_zlibs_default(path: Path) -> bool:
    """Whether METADATA and RECORD were deflated as zlib does by default."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for one in archive.infolist():
            if not one.filename.endswith((".dist-info/METADATA", ".dist-info/RECORD")):
                continue
            if one.compress_type == zipfile.ZIP_STORED:
                continue
            deflater = zlib.compressobj(-1, zlib.DEFLATED, -15)
            data = deflater.compress(archive.read(one)) + deflater.flush()
            file.seek(one.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            file.seek(one.header_offset + 30 + name + extra)
            if file.read(one.compress_size) != data:
                return False
    return True


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
@pytest.mark.parametrize("name", BACKENDS)
def test_there_and_back_for_every_backend(
    name: str, in_place: bool, plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    plain = plain_wheels[name]
    wheel = Path(shutil.copy(plain, tmp_path))
    here = ["--in-place"] if in_place else []
    polywheel("label", wheel, *LABEL, *here, cwd=tmp_path)
    (labelled,) = tmp_path.glob("*-fa7c1393.whl")
    assert read_wheel(labelled).stamped
    assert wheel.exists() is not in_place
    wheel.unlink(missing_ok=True)
    said = polywheel("unlabel", labelled, *here, cwd=tmp_path)
    assert said.stdout.endswith(f"{wheel.name}: label removed\n")
    assert by_zlibs_default(plain)
    assert wheel.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("in_place", [False, True], ids=["copied", "in place"])
def test_there_and_back_for_wheels_from_pypi(
    in_place: bool, from_pypi: dict[str, Path], tmp_path: Path
) -> None:
    here = ["--in-place"] if in_place else []
    wheels = [Path(shutil.copy(path, tmp_path)) for path in from_pypi.values()]
    polywheel("label", *wheels, *LABEL, *here, cwd=tmp_path)
    labelled = list(tmp_path.glob("*-fa7c1393.whl"))
    assert len(labelled) == len(PROJECTS)
    for one in labelled:
        assert read_wheel(one).variant_json["variants"] == {
            "fa7c1393": {"x86_64": {"level": ["v3"]}}
        }
    for wheel in wheels:
        wheel.unlink(missing_ok=True)
    polywheel("unlabel", *labelled, *here, cwd=tmp_path)
    exact = 0
    for plain in from_pypi.values():
        back = tmp_path / plain.name
        assert described(back) == described(plain)
        if by_zlibs_default(plain):
            assert back.read_bytes() == plain.read_bytes()
            exact += 1
    assert exact >= 3


@pytest.mark.parametrize(
    ("name", "prop"),
    [("hatchling", "data::size::full"), ("flit-core", "blas_lapack::library::mkl")],
)
def test_a_label_is_what_the_backend_would_have_stamped(
    name: str, prop: str, plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    source = example(name, tmp_path)
    built = build_wheel(source, tmp_path / "built", f"-Cvariant={prop}")
    arguments: list[str | Path] = [
        "--pyproject",
        source / "pyproject.toml",
        "-o",
        tmp_path / "labelled",
    ]
    polywheel("label", plain_wheels[name], "-p", prop, *arguments, cwd=tmp_path)
    (labelled,) = (tmp_path / "labelled").iterdir()
    assert labelled.name == built.name
    assert labelled.read_bytes() == built.read_bytes()


def test_a_built_variant_becomes_the_plain_wheel(
    plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    source = example("flit-core", tmp_path)
    built = build_wheel(source, tmp_path / "built", "-Cvariant=blas_lapack::library::mkl")
    assert read_wheel(built).metadata.get_all("Requires-Dist")
    polywheel("unlabel", built, "-o", tmp_path / "plain", cwd=tmp_path)
    plain = plain_wheels["flit-core"]
    assert (tmp_path / "plain" / plain.name).read_bytes() == plain.read_bytes()
    said = polywheel("unlabel", plain, cwd=tmp_path)
    assert "nothing to do" in said.stdout


def test_plugins_judge_properties(plain_wheels: dict[str, Path], tmp_path: Path) -> None:
    wheel = shutil.copy(plain_wheels["flit-core"], tmp_path)
    env = {"POLYWHEEL_CACHE_DIR": str(ROOT / ".cache" / "polywheel")}
    arguments: list[str | Path] = [wheel, *PROVIDER, "-o", "out"]
    unknown = polywheel(
        "label", "-p", "x86_64::level::v9", *arguments, cwd=tmp_path, check=False, env=env
    )
    assert unknown.returncode == 3
    assert "does not know the feature or value" in unknown.stdout
    assert "command line: variant.providers.x86_64" in unknown.stdout
    assert not (tmp_path / "out").exists()
    polywheel("label", "-p", "x86_64::level::v3", *arguments, cwd=tmp_path, env=env)
    (done,) = (tmp_path / "out").iterdir()
    provider = read_wheel(done).variant_json["providers"]["x86_64"]
    assert provider == {
        "requires": ["provider-variant-x86-64"],
        "plugin-api": "provider_variant_x86_64.plugin:X8664Plugin",
    }


def test_labels_null_and_no_fields(plain_wheels: dict[str, Path], tmp_path: Path) -> None:
    wheel = plain_wheels["hatchling"]
    more: list[str | Path] = ["--no-validate", "-o", tmp_path, "--json"]
    said = polywheel("label", wheel, "--null", *PROVIDER, *more, cwd=tmp_path).stdout
    (null,) = json.loads(said)["wheels"]
    assert null["label"] == "null"
    assert null["properties"] == []
    assert read_wheel(Path(null["written"])).metadata["Variant-Label"] == "null"
    named = [*LEVEL, "--label", "avx2", "--no-metadata-fields", *PROVIDER, *more]
    (avx2,) = json.loads(polywheel("label", wheel, *named, cwd=tmp_path).stdout)["wheels"]
    assert Path(avx2["written"]).name.endswith("-avx2.whl")
    found = read_wheel(Path(avx2["written"]))
    assert "Variant-Label" not in found.metadata
    assert list(found.variant_json["variants"]) == ["avx2"]


def test_twine_takes_a_wheel_without_the_fields_only(
    plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    """Its check refuses the name, so the wheels are looked at under the plain one. An upload does not."""
    for option, code in ((["--no-metadata-fields"], 0), ([], 1)):
        folder = tmp_path / f"{code}"
        polywheel("label", plain_wheels["hatchling"], *LABEL, *option, "-o", folder, cwd=tmp_path)
        (wheel,) = folder.iterdir()
        if code:
            with pytest.raises(InvalidDistribution):
                PackageFile.from_filename(str(wheel), None)
        else:
            assert PackageFile.from_filename(str(wheel), None).basefilename == wheel.name
        plain = wheel.rename(folder / plain_wheels["hatchling"].name)
        done = run([sys.executable, "-m", "twine", "check", plain], cwd=tmp_path, check=False)
        assert done.returncode == code, done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ([], 2, "no variant is selected"),
        (["-p", "x86_64::level"], 2, "malformed variant property"),
        (["-p", "a::b::c"], 2, "the namespace 'a' has no provider"),
        (["--null"], 2, "needs at least one namespace"),
        ([*LABEL, "--label", "V3"], 2, "malformed variant label"),
        ([*LABEL, "--label", "null"], 2, "reserved for the variant without properties"),
        (["--label", "v3", *PROVIDER], 2, "no variant with the label 'v3' is declared"),
        ([*LEVEL, "--provider", "x86_64"], 2, "malformed provider"),
        ([*LEVEL, "--provider", "X=x"], 2, "malformed provider 'X=x'"),
        ([*LEVEL, "--provider", "x86_64=???"], 2, "malformed requirement"),
        ([*LEVEL, "--provider", "x86_64="], 2, "hint: expected NAMESPACE=REQUIREMENT"),
        ([*LEVEL, "--provider", "abi_dependency=x"], 2, "reserved"),
        ([*LEVEL, *PROVIDER, *PROVIDER], 2, "two providers"),
        ([*LABEL, "--pyproject", "pyproject.toml"], 2, "can't be used with --pyproject"),
        ([*LEVEL, "--pyproject", "other.toml"], 2, "there is no other.toml"),
        ([*LABEL, "-o", "taken.txt"], 4, "the folder can't be created"),
        ([*LABEL, "-o", "out", "--in-place"], 2, "not allowed with"),
    ],
)
def test_what_can_not_be_followed(
    arguments: list[str], code: int, what: str, plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    wheel = shutil.copy(plain_wheels["hatchling"], tmp_path)
    (tmp_path / "taken.txt").touch()
    before = sorted(tmp_path.iterdir())
    done = polywheel("label", wheel, *arguments, cwd=tmp_path, check=False)
    assert done.returncode == code, done.stdout
    assert what in done.stdout
    assert "Traceback" not in done.stdout
    assert sorted(tmp_path.iterdir()) == before


def test_one_bad_wheel_does_not_keep_the_others(
    plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    wheel = Path(shutil.copy(plain_wheels["hatchling"], tmp_path))
    (tmp_path / "broken-1.0-py3-none-any.whl").write_bytes(wheel.read_bytes()[:-30])
    (tmp_path / "no-wheel.whl").write_bytes(b"")
    done = polywheel("label", "*.whl", *LABEL, "-o", "out", cwd=tmp_path, check=False)
    assert done.returncode == 4
    assert "cut short" in done.stdout
    assert "'no-wheel.whl' is not the name of a wheel" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{wheel.stem}-fa7c1393.whl"]


def test_nothing_is_written_over(plain_wheels: dict[str, Path], tmp_path: Path) -> None:
    wheel = shutil.copy(plain_wheels["hatchling"], tmp_path)
    polywheel("label", wheel, *LABEL, "--label", "a", cwd=tmp_path)
    (labelled,) = tmp_path.glob("*-a.whl")
    before = labelled.read_bytes()
    again = polywheel("label", wheel, *LABEL, "--label", "a", cwd=tmp_path, check=False)
    assert again.returncode == 4
    assert "--force" in again.stdout
    other = ["-p", "x86_64::level::v2", *PROVIDER, "--no-validate", "--label", "a"]
    second = labelled.with_name(labelled.name.replace("-py3-", "-py4-").replace("-a.whl", ".whl"))
    shutil.copy(wheel, second)
    namesake = polywheel("label", second, *other, cwd=tmp_path, check=False)
    assert namesake.returncode == 4
    assert "the label 'a' stands for different properties" in namesake.stdout
    assert labelled.read_bytes() == before
    polywheel("label", wheel, *other, "--force", cwd=tmp_path)
    assert labelled.read_bytes() != before


def test_a_wheel_of_another_project_is_refused(
    plain_wheels: dict[str, Path], tmp_path: Path
) -> None:
    source = example("flit-core", tmp_path)
    done = polywheel(
        "label",
        plain_wheels["hatchling"],
        *("-p", "blas_lapack::library::mkl", "--pyproject", source / "pyproject.toml"),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 4
    assert "the project of the [variant] tables" in done.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by signal")
def test_a_kill_in_place_leaves_the_old_wheel_or_the_new_one(tmp_path: Path) -> None:
    """The command is killed at random moments; the wheel is whole, and a second run ends it."""
    if sys.platform == "win32":
        pytest.skip("kills by signal")
    name = "large-1.0-py3-none-any.whl"
    original = tmp_path / "original" / name
    original.parent.mkdir()
    noise, info = random.Random(1), "large-1.0.dist-info"
    files = {f"large/{number}.bin": noise.randbytes(1000) for number in range(3000)}
    files["large/more.bin"] = noise.randbytes(5_000_000)
    files[f"{info}/METADATA"] = b"Metadata-Version: 2.1\nName: large\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{one},,\n" for one in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(original, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    command = [sys.executable, "-m", "polywheel", "label", name, *LABEL, "--in-place"]
    folder = tmp_path / "folder"
    outcomes = set()
    delays = random.Random(2)
    span = None
    for _ in range(8):
        folder.mkdir()
        shutil.copy(original, folder)
        start = time.monotonic()
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(None if span is None else span * delays.uniform(0.7, 1.05))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGSTOP)  # so that it starts no child that is not seen
                while state(process.pid) not in "TZ":
                    time.sleep(0.001)
                children = descendants(process.pid) - {process.pid}
                process.kill()
                while children & parents().keys():  # the one that writes the end is on its own
                    time.sleep(0.01)
        span = span or time.monotonic() - start
        wheel, *more = sorted(path for path in folder.iterdir() if path.suffix == ".whl")
        # The new name is given before the old one is taken away.
        assert all(one.samefile(wheel) for one in more)
        wheel = folder / name if more else wheel
        with zipfile.ZipFile(wheel) as archive:
            assert archive.testzip() is None
            stamped = f"{info}/variant.json" in archive.namelist()
        outcomes.add(stamped)
        if wheel.name == name:
            run([*command[:4], wheel.name, *command[5:]], cwd=folder)
        (done,) = folder.iterdir()
        assert done.name == "large-1.0-py3-none-any-fa7c1393.whl"
        assert read_wheel_quickly(done)
        shutil.rmtree(folder)
    assert True in outcomes


def read_wheel_quickly(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return (
            archive.testzip() is None and "large-1.0.dist-info/variant.json" in archive.namelist()
        )
