"""The tests' own way in: one JSON request a line on a Unix socket."""

import json
import os
import socketserver
import threading


class Control:
    """Commands are the public methods, their arguments the request's."""

    def __init__(self, host, listener):
        self._host = host
        self._listener = listener

    # Guests and storages

    def add_guest(self, vmid, config, **options):
        """A guest is there."""
        self._host.add_guest(vmid, config, **options)

    def set_guest(self, vmid, config):
        """Change its configuration file by hand; None removes a key."""
        guest = self._host.guests.all[vmid]
        for key, value in config.items():
            if value is None:
                guest.config.pop(key, None)
            else:
                guest.config[key] = str(value)

    def start_guest(self, vmid, pid=0):
        """It runs now, as that process."""
        self._host.guests.all[vmid].start(pid, self._host.now())

    def stop_guest(self, vmid):
        """It no longer runs."""
        self._host.guests.all[vmid].stop()

    def destroy_guest(self, vmid):
        """It goes with all its volumes, whatever its state."""
        with self._host.lock:
            self._host.guests.all.pop(vmid, None)
            self._host.firewall.all.pop(vmid, None)
            self._host.pools.leave(vmid)
            self._host.changes.free_all_of(vmid)

    def move_guest(self, vmid, node=None):
        """It is on another node of the cluster now, or on this one again; its QEMU stays what it is."""
        self._host.guests.all[vmid].node = node

    def guests(self):
        """All configurations by VMID."""
        return {vmid: guest.config for vmid, guest in self._host.guests.all.items()}

    def add_machine(self, version):
        """The node's QEMU is a newer one."""
        self._host.machines.all.append(version)

    def forget_machines(self, versions):
        """The node's QEMU is one without these machine types."""
        known = self._host.machines.all
        known[:] = [version for version in known if version not in versions]

    def add_pool(self, name, comment=None):
        """There is such a pool."""
        self._host.pools.add(name, comment)

    def remove_pool(self, name):
        """It is gone."""
        del self._host.pools.all[name]

    def join_pool(self, name, vmid):
        """A guest is in it."""
        self._host.pools.leave(vmid)
        self._host.pools.join(name, vmid)

    def pool_of(self, vmid):
        """Where a guest is."""
        return self._host.pools.of(vmid)

    def firewall(self, vmid, content=None):
        """What a guest's firewall has; sets it."""
        if content is not None:
            self._host.firewall.all[vmid] = content
        return self._host.firewall.of(vmid)

    def add_storage(self, **about):
        """One more storage, or another for an old name."""
        self._host.storages.add(about)

    def set_storage(self, name, enabled=True, active=True):
        """Whether it is enabled, and there."""
        storage = self._host.storages.find(name)
        storage.enabled, storage.active = enabled, active

    def remove_storage(self, name):
        """It is gone; its volumes stay where they are."""
        del self._host.storages.all[name]

    def volumes(self):
        """Path of every volume by its id."""
        return {
            storage.volid(volume): str(storage.path(volume))
            for storage in self._host.storages.all.values()
            for volume in storage.volumes()
        }

    def alloc(self, storage, vmid, size, name=None, fmt=None):
        """Make a volume as Proxmox would (KiB); its id and path."""
        where = self._host.storages.find(storage)
        volume = where.alloc(vmid, name, size, fmt)
        return [where.volid(volume), str(where.path(volume))]

    def linked_clone(self, storage, base, vmid):
        """A volume that stands on a template's; its id."""
        where = self._host.storages.find(storage)
        return where.volid(where.clone(base, vmid))

    # Who may do what

    def set_password(self, user, password):
        """A user who can log in."""
        self._host.access.passwords[user] = password

    def set_token(self, user, name, secret, privsep=False):
        """An API token."""
        self._host.access.tokens[user, name] = {"secret": secret, "privsep": privsep}

    def revoke_token(self, user, name):
        """It no longer counts."""
        del self._host.access.tokens[user, name]

    def grant(self, path, name, privileges):
        """Rights of a user or a token there, instead of those from before."""
        acl = self._host.access.acl
        acl[:] = [entry for entry in acl if entry[:2] != (path, name)]
        acl.append((path, name, privileges))

    def expire_tickets(self):
        """No ticket that was used so far counts any more."""
        self._host.access.revoked |= self._host.access.seen
        return len(self._host.access.revoked)

    def rotate_key(self, forget_old=False):
        """A new key pair."""
        self._host.access.rotate(forget_old)

    def age_key(self, seconds):
        """Let the key be older than it is."""
        key = self._host.access.folder / "authkey.pub"
        when = self._host.now() - seconds
        os.utime(key, (when, when))

    def clock(self, offset):
        """Let the host's clock be wrong."""
        self._host.clock_offset = offset

    # What goes wrong, and what went on

    def fault(self, **fault):
        """Switch a fault on (faults.py, server.py)."""
        self._host.faults.add(fault)

    def clear_faults(self):
        """Switch all off."""
        self._host.faults.clear()

    def down(self):
        """Refuse connections."""
        self._listener.close()

    def up(self):
        """Answer again."""
        self._listener.open()

    def set(self, **settings):
        """task_duration, delay_401, one_record."""
        self._host.settings.update(settings)

    def requests(self):
        """All requests so far."""
        return self._host.requests

    def forget_requests(self):
        """Count anew."""
        self._host.requests.clear()

    def tasks(self):
        """All tasks: kind, id and exit status, None while one runs."""
        return [
            {"type": task.kind, "id": task.id, "exitstatus": task.exitstatus, "log": task.log}
            for task in self._host.tasks.all.values()
        ]

    # Serving

    def serve(self, path):
        """Answer on the socket, in the background."""
        control = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(json.dumps(control._run(json.loads(line))).encode() + b"\n")

        server = socketserver.ThreadingUnixStreamServer(path, Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _run(self, request):
        try:
            method = getattr(self, request.pop("command"))
            result = method(**request)
            self._host.locks.write_files()
            return {"result": result}
        except Exception as error:  # the test shows it
            return {"error": repr(error)}
