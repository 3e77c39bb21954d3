"""The array types that kernel signatures are written in.

`READ_*` accepts read-only views and writable arrays alike, and a kernel that writes to one does
not compile. `WRITE_*` is for outputs.
"""

from numba import float32, float64, int16, int32, int64, types, uint8, uint32, uint64

READ_U8 = types.Array(uint8, 1, "C", readonly=True)
READ_I32 = types.Array(int32, 1, "C", readonly=True)
READ_U32 = types.Array(uint32, 1, "C", readonly=True)
READ_I64 = types.Array(int64, 1, "C", readonly=True)
READ_U64 = types.Array(uint64, 1, "C", readonly=True)
READ_F32 = types.Array(float32, 1, "C", readonly=True)
READ_F64 = types.Array(float64, 1, "C", readonly=True)
READ_I16_2D = types.Array(int16, 2, "C", readonly=True)
READ_I32_2D = types.Array(int32, 2, "C", readonly=True)
READ_I64_2D = types.Array(int64, 2, "C", readonly=True)
READ_U32_2D = types.Array(uint32, 2, "C", readonly=True)
READ_F32_2D = types.Array(float32, 2, "C", readonly=True)
READ_F64_2D = types.Array(float64, 2, "C", readonly=True)
READ_U8_2D = types.Array(uint8, 2, "C", readonly=True)

WRITE_U8 = types.Array(uint8, 1, "C")
WRITE_I32 = types.Array(int32, 1, "C")
WRITE_U32 = types.Array(uint32, 1, "C")
WRITE_I64 = types.Array(int64, 1, "C")
WRITE_U64 = types.Array(uint64, 1, "C")
WRITE_F32 = types.Array(float32, 1, "C")
WRITE_F64 = types.Array(float64, 1, "C")
WRITE_U8_2D = types.Array(uint8, 2, "C")
WRITE_I32_2D = types.Array(int32, 2, "C")
WRITE_I64_2D = types.Array(int64, 2, "C")
WRITE_F32_2D = types.Array(float32, 2, "C")
WRITE_F64_2D = types.Array(float64, 2, "C")
WRITE_I64_3D = types.Array(int64, 3, "C")
