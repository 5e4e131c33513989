"""What a Proxmox guest has beside its configuration, and comes back with: firewall, pool, notes."""

import re

import pytest
from harness.disk import MIB
from harness.marks import one_version
from harness.pve_guest import Volume
from harness.pve_manual import restore_rights
from harness.pve_restored import assert_config, assert_volumes, not_given
from harness.pve_world import NEW, pve_world

pytestmark = one_version

_DISKS = {"scsi0": Volume("data", MIB, "raw")}
_FIREWALL = {
    "options": {"enable": 1, "dhcp": 0, "policy_in": "DROP", "log_level_in": "info"},
    "aliases": [{"name": "dbhost", "cidr": "192.0.2.10", "comment": "Datenbank ä € 50% & + ="},
                {"name": "six", "cidr": "2001:db8::/64"}],
    "ipset": [{"name": "ipfilter-net0", "members": [{"cidr": "10.0.0.7"}]},
              {"name": "trusted", "comment": "set", "members": [
                  {"cidr": "198.51.100.0/24", "comment": "c"}, {"cidr": "198.51.100.7", "nomatch": 1},
                  {"cidr": "dbhost"}]}],
    "rules": [{"type": "in", "action": "DROP", "enable": 1, "source": "dc/admins"},
              {"type": "out", "action": "REJECT", "enable": 0, "dest": "203.0.113.1-203.0.113.9", "proto": "udp",
               "dport": "53", "sport": "1024:65535"},
              {"type": "group", "action": "websrv", "enable": 1, "iface": "net0"},
              {"type": "in", "action": "ACCEPT", "enable": 1, "macro": "HTTPS", "source": "dbhost", "log": "warning"},
              {"type": "in", "action": "ACCEPT", "enable": 1, "source": "+trusted", "proto": "tcp", "dport": "22",
               "comment": "first ä"}],
}
_NOTES = "Zeile 1 ä €\nline 2: 50% & = + ; , \" ' \\\n\n# h1\nlast"


def _set_up(world):
    world.pve.control("add_pool", name="prod/sub")
    world.pve.control("join_pool", name="prod/sub", vmid=100)
    world.pve.control("firewall", vmid=100, content=_FIREWALL)
    full = world.bacula.run("VM", "Full")
    assert full.ok, full.log
    return full


def _token(pve):
    file = pve.token_file(user="backup@pve", name="qemu-fd")
    for path, privileges in restore_rights(pve.version).items():
        pve.control("grant", path=path, name="backup@pve", privileges=privileges)
    return f"tokenfile={file}"


@pytest.fixture(scope="module", params=["6.4", "9.2"])
def _by_ticket(request, bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), request.param, disks=_DISKS,
                   config={"description": _NOTES}) as world:
        yield world, _set_up(world)


@pytest.fixture(scope="module")
def _by_token(bacula_root, plugin, tmp_path_factory):
    with pve_world(bacula_root, plugin, tmp_path_factory.mktemp("pve"), "9.2", _token, disks=_DISKS) as world:
        yield world, _set_up(world)


@pytest.fixture
def world(_by_ticket):
    """A host with that guest, and its backup."""
    _by_ticket[0].reset()
    return _by_ticket


@pytest.fixture
def token_world(_by_token):
    """The same by a token."""
    _by_token[0].reset()
    return _by_token


def _restore(world, full, **options):
    result = world.restore([full.jobid], plugin_options=options)
    assert result.ok, result.log
    world.assert_clean()
    return result.log


def _assert_all(world, log):
    assert world.pve.control("firewall", vmid=NEW) == _FIREWALL
    assert "firewall" not in log
    assert world.pve.control("pool_of", vmid=NEW) == "prod/sub"
    assert_volumes(world.pve, NEW, world.held)


def test_ticket(world):
    """Rules in their order, aliases, sets with their members, options; the pool; the notes."""
    world, full = world
    log = _restore(world, full)
    _assert_all(world, log)
    assert world.pve.config(NEW)["description"] == _NOTES
    assert_config(world.pve, NEW, world.config, not_given(log, NEW))


def test_token(token_world):
    """The documented roles are enough for backup and restore."""
    world, full = token_world
    _assert_all(world, _restore(world, full))


def test_token_that_sees_no_pool(token_world):
    """Nobody can tell it from a guest that is in none."""
    world, _ = token_world
    rights = restore_rights(world.pve.version)
    world.pve.control("grant", path="/pool", name="backup@pve", privileges=[])
    full = world.bacula.run("VM", "Full")
    for path, privileges in rights.items():
        world.pve.control("grant", path=path, name="backup@pve", privileges=privileges)
    assert full.ok, full.log
    _restore(world, full)
    assert world.pve.control("pool_of", vmid=NEW) is None


def test_token_that_may_not_set_it(token_world):
    """Said in a warning, with the right that lacks; the guest is not started."""
    world, full = token_world
    rights = dict(restore_rights(world.pve.version))
    rights["/vms"] = [right for right in rights["/vms"] if right != "VM.Config.Network"]
    world.pve.control("grant", path="/vms", name="backup@pve", privileges=rights["/vms"])
    world.pve.control("set_guest", vmid=100, config={"net0": None})
    try:
        plain = world.bacula.run("VM", "Full")
        log = _restore(world, plain, start="yes")
    finally:
        world.pve.control("set_guest", vmid=100, config={"net0": world.config["net0"]})
        for path, privileges in restore_rights(world.pve.version).items():
            world.pve.control("grant", path=path, name="backup@pve", privileges=privileges)
    assert full.ok
    assert f"not given are all rules (Permission check failed (/vms/{NEW}, VM.Config.Network))" in log
    assert f"Guest {NEW} is not started" in log


def test_other_pool(world):
    """The form's wins."""
    world, full = world
    world.pve.control("add_pool", name="test")
    _restore(world, full, pool="test")
    assert world.pve.control("pool_of", vmid=NEW) == "test"


def test_pool_gone(world):
    """It is named, and the guest comes without."""
    world, full = world
    world.pve.control("remove_pool", name="prod/sub")
    try:
        log = _restore(world, full)
    finally:
        world.pve.control("add_pool", name="prod/sub")
        world.pve.control("join_pool", name="prod/sub", vmid=100)
    assert "pool prod/sub (it does not exist)" in log
    assert world.pve.control("pool_of", vmid=NEW) is None
    assert_volumes(world.pve, NEW, world.held)


def test_firewall_of_another_cluster(world):
    """What names an alias that is not there is left out and named; everything else comes."""
    world, _ = world
    firewall = _FIREWALL | {
        "options": {**_FIREWALL["options"], "newoption": 1},
        "rules": [{"type": "in", "action": "ACCEPT", "enable": 1, "source": "elsewhere"}, *_FIREWALL["rules"]],
    }
    world.pve.control("firewall", vmid=100, content=firewall)
    full = world.bacula.run("VM", "Full")
    world.pve.control("firewall", vmid=100, content=_FIREWALL)
    log = _restore(world, full, start="yes")
    assert "rule 0 (no such alias 'elsewhere')" in log and "newoption (Proxmox refuses it)" in log
    assert re.search(rf"Warning: .*The firewall of guest {NEW} did not come back whole", log)
    assert f"Guest {NEW} is not started" in log
    assert world.pve.control("firewall", vmid=NEW) == _FIREWALL


def test_firewall_that_cannot_be_read(world):
    """The backup goes on with a warning; a restore says that the rules are missing."""
    world, _ = world
    world.pve.control("fault", match="GET .*/firewall/rules", action="status", status=403, text="no", times=-1)
    world.pve.control("set_guest", vmid=100, config={"net0": world.config["net0"] + ",firewall=1"})
    try:
        full = world.bacula.run("VM", "Full")
    finally:
        world.pve.control("clear_faults")
        world.pve.control("set_guest", vmid=100, config={"net0": world.config["net0"]})
    assert full.ok, full.log
    assert 'The firewall of guest "vm1" (100) is not in the backup: ' in full.log
    left_out = not_given(_restore(world, full), NEW)
    assert left_out["firewall"] == "its rules are not in the backup"
    assert world.pve.control("firewall", vmid=NEW)["rules"] == []


def test_taken_back(world):
    """A restore that breaks off in the firewall leaves neither guest nor rules."""
    world, full = world
    world.pve.control("fault", match="POST .*/firewall/rules", action="close", skip=1, times=-1)
    result = world.restore([full.jobid])
    assert not result.ok
    assert "firewall, rule 3" in result.log
    world.pve.control("clear_faults")
    world.assert_nothing_left()
    assert world.pve.control("firewall", vmid=NEW)["rules"] == []


_HASH = "$5$Abc.def/0$0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.fixture
def with_password(world):
    """Restore the guest with this password in the host's own file: with_password(value)."""
    world, _ = world
    folder = world.pve.etc_pve / "qemu-server"
    folder.mkdir(exist_ok=True)
    world.pve.control("set_guest", vmid=100, config={"cipassword": "anything", "ciuser": "me"})

    def restore(value, **options):
        (folder / "100.conf").write_text(f"boot: order=scsi0\ncipassword: {value}\nciuser: me\n")
        full = world.bacula.run("VM", "Full")
        assert full.ok and value not in full.log, full.log
        result = world.restore([full.jobid], **options)
        assert result.ok and value not in result.log, result.log
        return world, full, not_given(result.log, NEW), world.pve.control("guests")[str(NEW)].get("cipassword")

    yield restore
    (folder / "100.conf").unlink(missing_ok=True)
    world.pve.control("set_guest", vmid=100, config={"cipassword": None, "ciuser": None})


def test_password(with_password):
    """Its hash comes back as it stood, and is in no log and in no catalog."""
    world, full, left_out, made = with_password(_HASH)
    assert made == _HASH and "cipassword" not in left_out
    rows = world.bacula.catalog.ask(f"SELECT RestoreObject FROM RestoreObject WHERE JobId = {full.jobid}")
    assert rows and not any(_HASH.encode() in row[0] for row in rows if isinstance(row[0], bytes))
    assert not any(_HASH in str(row[0]) for row in rows)


def test_password_without_config_json(with_password):
    """A disk alone: the catalog knows of a password, and not which; settings of root come all the same."""
    _, _, left_out, made = with_password(_HASH, files=["/@qemu/vm1/100/drive-scsi0.qcow2"])
    assert made is None and left_out["cipassword"] == "Proxmox does not tell it"


def test_plain_password(with_password):
    """One that Proxmox never hashed is nobody's business."""
    _, _, left_out, made = with_password("hunter2-in-plain")
    assert made is None and left_out["cipassword"] == "Proxmox does not tell it"
