"""The disks' content: the same bytes in every run, half of them compressible."""

import random

_MIB = 1024 * 1024
_BLOCK = 64 * 1024
_WORDS = [b"backup", b"restore", b"guest", b"cluster", b"increment", b"table", b"zero", b"\n"]


def _prose(source):
    """A block of words, which any compressor makes a fraction of."""
    text = b" ".join(source.choices(_WORDS, k=_BLOCK // 4))
    return (text * 2)[:_BLOCK]


def chunks(size, seed):
    """Pieces of 1 MiB: every other block of 64 KiB is noise, the others are words."""
    source = random.Random(seed)
    prose = [_prose(source) for _ in range(16)]
    for _ in range(size // _MIB):
        halves = ((source.randbytes(_BLOCK), source.choice(prose)) for _ in range(8))
        yield b"".join(block for pair in halves for block in pair)


def write_file(path, size, seed):
    """A plain file of so many bytes."""
    with path.open("wb") as file:
        for piece in chunks(size + _MIB, seed):
            file.write(piece[: size - file.tell()])
    return path


def write_spread(path, virtual, data, seed, extents=16):
    """A sparse file that holds some data in a few extents, spread evenly over it."""
    step = virtual // extents // _MIB * _MIB
    length = data // extents
    with path.open("wb") as file:
        file.truncate(virtual)
        for number, piece in enumerate(chunks(data, seed)):
            extent, offset = divmod(number * _MIB, length)
            file.seek(extent * step + offset)
            file.write(piece)
    return path


def scattered(size, share, seed, cluster=_BLOCK):
    """Offsets of clusters that make up this share of a disk, in random order."""
    count = size // cluster
    return [place * cluster for place in random.Random(seed).sample(range(count), int(count * share))]
