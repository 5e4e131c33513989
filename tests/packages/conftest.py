"""Packages are built once for all tests."""

import shutil

import debian_package
import pytest
from debian_folder import SUITES, DebianFolder
from source import TARBALL, WORK, empty


@pytest.fixture(scope="session", autouse=True)
def _tarball():
    if not TARBALL.exists():
        pytest.exit(f"no {TARBALL}: run make dist", returncode=1)


@pytest.fixture
def workdir(request):
    """A folder of the test's own, kept when it fails."""
    folder = empty(WORK / request.node.name)
    yield folder
    if request.session.testsfailed == 0:
        shutil.rmtree(folder)


@pytest.fixture(scope="session", params=SUITES)
def release(request):
    """"12", then "13"."""
    return request.param


@pytest.fixture(scope="session")
def builder(release):
    """The Debian in which the .deb is built; it is empty of everything else."""
    with DebianFolder(WORK / "builder", WORK, release) as debian:
        debian_package.prepare(debian)
        yield debian


@pytest.fixture(scope="session")
def builds(builder):
    """Folders with the .deb, built at two places and in two surroundings."""
    return (
        debian_package.build(builder, "/build", TZ="UTC"),
        debian_package.build(builder, "/build-again/elsewhere", umask="027", TZ="Asia/Kathmandu",
                             LC_ALL="C.UTF-8", DEB_BUILD_OPTIONS="parallel=1", HOME="/nonexistent"),
    )


@pytest.fixture(scope="session")
def deb(builds, release):
    """The .deb itself."""
    return builds[0] / debian_package.file_name(release)


@pytest.fixture(scope="module")
def debian(release):
    """A minimal Debian."""
    with DebianFolder(WORK / "root", WORK, release) as folder:
        folder.apt("update")
        yield folder
