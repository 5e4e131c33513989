"""Marks that several files use."""

import pytest

# What Bacula's version has no part in is shown on one.
one_version = pytest.mark.parametrize("bacula_version", ["15.0.3"], indirect=True)


def known_bug(reason):
    """The test is right and the plugin is not yet; says so as soon as it is."""
    return pytest.mark.xfail(strict=True, reason=reason)
