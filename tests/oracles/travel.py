"""Slow twins of `kernels/travel`: the angle between two vectors from the earth's centre."""

import math
import struct

MISSING_CODE = 0xFFFF_FFFF


def measure_distance(from_latitude, from_longitude, to_latitude, to_longitude):
    here, there = (
        _point(from_latitude, from_longitude),
        _point(to_latitude, to_longitude),
    )
    across = math.dist(here, there)
    along = math.dist(here, [-x for x in there])
    # Half the angle has sides across ÷ 2 and along ÷ 2: exact for near and for opposite places.
    return 6371.0088 * 2 * math.atan2(across, along)


def evaluate_travel(place, time_ms, latitude, longitude, distance_km_min, speed_kmh_max, figures):
    figures[:] = [MISSING_CODE] * 4
    if not len(place) or any(math.isnan(x) for x in (place[0], latitude, longitude)):
        return
    distance = measure_distance(place[1], place[2], latitude, longitude)
    hours = abs(time_ms - place[0]) / 3_600_000
    speed = 0.0
    if distance:
        speed = min(distance / hours, 1e9) if hours else 1e9
    figures[0] = distance > distance_km_min and speed > speed_kmh_max
    figures[1:] = [_pattern(speed), _pattern(distance), _pattern(hours)]


def update_place(time_ms, latitude, longitude, place):
    known = not math.isnan(latitude) and not math.isnan(longitude)
    if known and (math.isnan(place[0]) or time_ms >= place[0]):
        place[:] = [time_ms, latitude, longitude]


def _point(latitude, longitude):
    north, east = math.radians(latitude), math.radians(longitude)
    return [
        math.cos(north) * math.cos(east),
        math.cos(north) * math.sin(east),
        math.sin(north),
    ]


def _pattern(number):
    return struct.unpack("<I", struct.pack("<f", number))[0]
