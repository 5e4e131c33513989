"""Every text of the C source that can reach the job log or the console.

Not only the formats of error_set and its like: any string of two words or more counts, wherever
it stands, also in a header, as a reason may be kept in a table or a variable.  What is told to
somebody else (QEMU, the trace, Proxmox, a file) is named in _NOT_MESSAGES, and nothing else is.
A conversion is written as "…".
"""

import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "src"
# The rooms of qemu-fd-open, which says on standard error what it has to say.
_OTHER_ROOMS = {"volume", "open"}

_TOKEN = re.compile(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[A-Za-z_]\w*|\s+|.', re.S)
_DEFINE = re.compile(r'^#define (\w+) +"((?:[^"\\]|\\.)*)"$', re.M)
_CONVERSION = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z|j)?[a-zA-Z])")
_ALWAYS = {"error_set", "error_errno", "error_hint", "error_other_hint", "error_context",
           "job_message", "bad_value"}
_NEVER = {"log_debug", "strstr", "__attribute__", "static_assert", "_Static_assert"}

# What is not told to the user: exactly these, so that a new text is noticed.
_NOT_MESSAGES = {
    # names and formats of files, requests, other programs
    "# Plugin configuration file\n# Version 1\n",
    "OptPrompt=\"…\"\nOptDefault=\"*None*\"\n…=@STR@\n\n",
    "qemu-fd config",
    "qemu-fd-object 1 … … … …\n…",
    "… …",
    "… is started by qemu-fd.so\n",
    "qemu-io … \"write -q -z … …\"",
    # what the daemon is told of the plugin, and the names of options in bconsole
    "backup of running QEMU guests",
    "the qemu-fd authors",
    "VMID of the restored guest",
    "Name of the restored guest",
    "New MAC addresses and a new UUID",
    "Pool of the restored guest",
    "Start the guest when all of it came back",
    "Make the guest a template when all of it came back",
    "KiB a second that a disk is written with",
    "Plugin working directory",
    "Convert qcow2 restore to original destination",
    "Replace an image that is another one's backing file",
    "Format of images restored to a directory",
    "Proxmox storage for restored disks",
    "Give back settings that act as root on the host",
    "qemu-fd: settings that act as root, 1",
    # what Proxmox says, to be recognised
    "VM … already exists",
    "only root can set '",
    "Proxmox says: ",
    "unable to create VM ",
    ". at /usr/",
    "invalid format",
    "volume … ",
    # what other programs and files say, and what is said to Perl and to a server
    "[-r rate_limit]",
    "VM …",
    "(not UTF-8)",
    "# Disk Descriptor",
    "short …\n", "stood …\n",
    "frozen …\n",
    "thawed …\n",
    'write" lock',
    "PVE::Storage::activate_volumes(PVE::Storage::config(), \\@ARGV)",
    "PVE::Storage::deactivate_volumes(PVE::Storage::config(), \\@ARGV)",
    "Authorization: PVEAPIToken=",
    "Cookie: PVEAuthCookie=",
    ".qcow2 (deleted)",
    "qemu-fd guest",
    "qemu-fd-object 1 ",
    # in front of every message, around every one of .query, and in config.json
    "qemu: …\n",
    '{"error":"out of memory"}\n',
    "Proxmox VE",
    # words for another message's …
    "VMID",
    "name",
    "vm",
    "vmid",
}


def _tokens(text):
    return [token for token in _TOKEN.findall(text) if not token.startswith("/*") and not token.isspace()]


def _plain(token):
    text = token[1:-1]
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), text)


def shown(text):
    """A format as the documentation writes it."""
    return _CONVERSION.sub(lambda match: "%" if match[0] == "%%" else "…", text)


def _strings(path, macros):
    """(text, functions around it) for each literal of a file, pieces and macros joined."""
    tokens = _tokens(re.sub(r"^#.*(?:\\\n.*)*", "", path.read_text(), flags=re.M))
    around, text, place = [], None, []
    for index, token in enumerate([*tokens, ""]):
        literal = token.startswith('"') or (token in macros and (
            text is not None or tokens[index + 1 : index + 2] and tokens[index + 1].startswith('"')))
        if literal:
            if text is None:
                text, place = "", list(around)
            text += _plain(token) if token.startswith('"') else macros[token]
            continue
        if text is not None:
            yield text, place
            text = None
        if token == "(":
            around.append(tokens[index - 1])
        elif token == ")" and around:
            around.pop()


def _sources():
    return sorted(path for path in SOURCES.rglob("*.[ch]") if path.parent.name not in _OTHER_ROOMS)


def _macros():
    return {
        name: _plain(f'"{value}"')
        for path in _sources()
        for name, value in _DEFINE.findall(path.read_text())
    }


def _is_message(text, around):
    if set(around) & _NEVER or text in _NOT_MESSAGES:
        return False
    if shown(text) in _NOT_MESSAGES:
        return False
    own = around[-1] if around else ""
    if own in _ALWAYS:
        return bool(re.search(r"[A-Za-z]", _CONVERSION.sub("", text)))
    if text.startswith("{s:"):  # of json_pack
        return False
    return bool(re.search(r"\S\s+\S", text) and re.search(r"[A-Za-z]", _CONVERSION.sub("", text)))


def not_messages_that_are_gone():
    """Texts that are named as no messages here, and that no source has any more."""
    macros = _macros()
    there = {text for path in _sources() for text, _ in _strings(path, macros)} | set(macros.values())
    return sorted(_NOT_MESSAGES - there - {shown(text) for text in there})


def messages():
    """{text with … for what varies: the files it is in}."""
    macros = _macros()
    found = {}
    for path in _sources():
        texts = list(_strings(path, macros))
        # A macro alone as an argument or a value.
        for name, value in _DEFINE.findall(path.read_text()):
            texts += [(macros[name], [])] if " " in value else []
        for text, around in texts:
            if _is_message(text, around):
                found.setdefault(shown(text), set()).add(str(path.relative_to(SOURCES)))
    return found
