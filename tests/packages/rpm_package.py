"""The .rpm, built as docs/install.md says.

On Debian the libraries that its BuildRequires name are there, but no package
database of rpm's that says so: hence --nodeps.
"""

from harness.process import run
from source import TARBALL, VERSION, empty, environment

PACKAGE = "bacula-qemu-fd-plugin"


def build(folder, **macros):
    """Build the tarball's spec; the package."""
    defined = {"_topdir": empty(folder), "packager": "the tests of the packages", **macros}
    options = [word for macro, value in defined.items() for word in ("--define", f"{macro} {value}")]
    run(["rpmbuild", "-tb", "--nodeps", *options, TARBALL], env=environment())
    (package,) = (folder / "RPMS").glob(f"*/{PACKAGE}-{VERSION}-1*.rpm")
    return package


def query(package, *options):
    """Lines of what rpm -qp says."""
    return run(["rpm", "-qp", "--nosignature", *options, package]).splitlines()
