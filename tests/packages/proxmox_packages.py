"""Stand-ins for the packages of Proxmox VE that take the place of Debian's QEMU."""

import re
import shutil

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: amd64
Maintainer: the tests of the packages <nobody@qemu-fd.invalid>
Description: stand-in for Proxmox' package of this name
{relations}
"""
# As in debian/control of Proxmox' pve-qemu (master at 11.0.0, stable-bookworm); Provides has no version.
_PVE_QEMU = """\
Conflicts: kvm, pve-kvm, pve-qemu-kvm-2.6.18, qemu, qemu-kvm, qemu-system-arm, qemu-system-common,
 qemu-system-data, qemu-system-x86, qemu-utils
Provides: qemu-system-arm, qemu-system-x86, qemu-utils
Replaces: pve-kvm, pve-qemu-kvm-2.6.18, qemu-system-arm, qemu-system-x86, qemu-utils
"""
_PVE_QEMU_VERSIONS = {"12": "9.2.0-7", "13": "10.1.2-3"}
# What leans on it, and goes with it.
_LEANING = {"qemu-server": "Depends: pve-qemu-kvm", "proxmox-ve": "Depends: qemu-server"}
PACKAGES = {"pve-qemu-kvm", *_LEANING}


def install(debian):
    """Make a Proxmox VE host of a Debian, as far as apt can see; qemu-img is Debian's own."""
    inside = "/var/cache/pve"
    folder = debian.path(inside)
    folder.mkdir()
    debian.run("sh", "-c", f"cd {inside} && apt-get -q download qemu-utils && "
                           "dpkg-deb -R qemu-utils_*.deb pve-qemu-kvm && rm qemu-utils_*.deb")
    original = (folder / "pve-qemu-kvm/DEBIAN/control").read_text()
    depends = re.search(r"^Depends: .*\n(?: .*\n)*", original, re.M)[0]
    version = _PVE_QEMU_VERSIONS[debian.release]
    _pack(debian, inside, "pve-qemu-kvm", version, depends + _PVE_QEMU)
    for name, relations in _LEANING.items():
        _pack(debian, inside, name, "9.0", relations)
    debian.apt("install", *(f"{inside}/{name}.deb" for name in PACKAGES))
    shutil.rmtree(folder)


def _pack(debian, inside, name, version, relations):
    control = debian.path(f"{inside}/{name}/DEBIAN/control")
    control.parent.mkdir(parents=True, exist_ok=True)
    control.write_text(_CONTROL.format(name=name, version=version, relations=relations.rstrip()))
    debian.run("dpkg-deb", "--root-owner-group", "-b", f"{inside}/{name}", f"{inside}/{name}.deb")
