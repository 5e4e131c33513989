"""The versions of Proxmox VE that the stand-in plays."""

VERSIONS = ("6.4", "7.2", "8.4", "9.1", "9.2")


def since(version, first):
    """Whether a version is that one or a later one."""
    return _parts(version) >= _parts(first)


def _parts(version):
    return tuple(map(int, version.split(".")))
