"""The weights as a file of their own, for programs that load or map it.

All numbers are little-endian.  A header of 32 bytes, then the arrays one after the other, float32:

| bytes | what |
| --- | --- |
| 0–7 | ``UNROLLED`` |
| 8–11 | the version of this form, 1 |
| 12–15 | the number of float32 numbers after the header |
| 16–19 | the CRC-32 of the arrays' names and lengths: which model the numbers belong to |
| 20–23 | the CRC-32 of the numbers |
| 24–31 | zero |

CRC-32 is that of zlib and PNG (polynomial 0xEDB88320, reflected).
"""

from __future__ import annotations

import struct
import zlib

from unrolled.interop.c.weights import Weights

MAGIC = b"UNROLLED"
VERSION = 1
HEADER = 32


def fingerprint(weights: Weights) -> int:
    """The CRC-32 of the arrays' names and lengths."""
    listing = "".join(f"{a.name} {a.values.size}\n" for a in weights.arrays)
    return zlib.crc32(listing.encode("ascii"))


def content(weights: Weights) -> bytes:
    """The file."""
    numbers = b"".join(a.values.astype("<f4").tobytes() for a in weights.arrays)
    header = struct.pack(
        "<8sIIII8x", MAGIC, VERSION, weights.size, fingerprint(weights), zlib.crc32(numbers)
    )
    return header + numbers


def holds_blob(beginning: bytes) -> bool:
    """Whether a file that begins so is one of these."""
    return beginning.startswith(MAGIC + struct.pack("<I", VERSION))


CHECK = """\
static uint32_t number_at(const unsigned char *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static uint32_t crc32_of(const unsigned char *bytes, size_t n) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}
"""

ERRORS = (
    ("SIZE", "of another size than this model's weights"),
    ("ALIGNMENT", "not at an address that a float can have"),
    ("FORMAT", "no weights of this form and version"),
    ("MODEL", "the weights of another model"),
    ("CHECKSUM", "damaged: the checksum is another one"),
    ("MACHINE", "not readable here: the machine's floats are not little-endian"),
)
"""What ``_init`` may refuse a blob for, in the order of the codes 1, 2, …"""
