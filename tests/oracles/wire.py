"""Numbers of the wire, read and written by protobuf's own rules, one digit of 7 bits a byte."""


def read_varint(data, at, end):
    rest = bytes(data[at:end])
    for size in range(1, min(len(rest), 9) + 1):
        number = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(rest[:size]))
        if rest[:size] == _write(number):
            return number, at + size
    return -1, -1


def find_sized(data, at, end):
    size, start = read_varint(data, at, end)
    return (-1, -1) if start < 0 or start + size > end else (start, start + size)


def _write(number):
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
