"""Who opens a file: what a path that must not be followed shows, even when it is only read."""

import ctypes
import os
import struct

_IN_NONBLOCK = os.O_NONBLOCK
_EVENTS = {
    0x002: "written",
    0x020: "opened",
    0x004: "its attributes changed",
    0x040: "moved",
    0x080: "moved",
    0x100: "made",
    0x200: "removed",
}
_HEAD = struct.Struct("iIII")


class Watch:
    """Notes everything that is done to the files in a folder from now on (inotify)."""

    def __init__(self, folder):
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(_IN_NONBLOCK)
        watched = library.inotify_add_watch(
            self._descriptor, os.fsencode(folder), sum(_EVENTS)
        )
        if self._descriptor < 0 or watched < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")

    def events(self):
        """What has happened since the last call, in words."""
        found = []
        try:
            events = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return found
        while events:
            _, mask, _, length = _HEAD.unpack_from(events)
            name = events[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
            verbs = [verb for bit, verb in _EVENTS.items() if mask & bit]
            found.append(f"{os.fsdecode(name) or 'the folder'}: {', '.join(verbs)}")
            events = events[_HEAD.size + length :]
        return found

    def close(self):
        """Stop."""
        os.close(self._descriptor)
