"""Packages are built once for all tests."""

import shutil

import pytest

import debian_package
from debian_folder import DebianFolder
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


@pytest.fixture(scope="session")
def debs():
    """The .deb built twice, at two places and in two surroundings."""
    return debian_package.build_twice()


@pytest.fixture(scope="session")
def deb(debs):
    """The .deb itself."""
    return debs[0][debian_package.FILE]


@pytest.fixture(scope="module")
def debian():
    """A minimal Debian."""
    with DebianFolder(WORK / "root", WORK) as folder:
        folder.apt("update")
        yield folder
