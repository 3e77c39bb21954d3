"""Checksums by the libraries that everything else takes them from."""

import hashlib
import zlib

import google_crc32c


def extend_crc32c(data, start, end, crc):
    return google_crc32c.extend(int(crc), bytes(data[start:end]))


def extend_crc32(data, start, end, crc):
    return zlib.crc32(bytes(data[start:end]), int(crc))


def digest_blake2b(words, size, out, at):
    digest = hashlib.blake2b(words.tobytes()[:size], digest_size=16).digest()
    out[at : at + 16] = list(digest)
