"""The batches in the segments of a log, a partition's or the metadata log's."""

import struct

# Where fields stand in a batch.
BATCH_HEADER, LEADER_EPOCH, LAST_OFFSET_DELTA, SMALLEST = 12, 12, 23, 61


def segments(folder):
    return sorted(folder.glob("*.log"))


def batches(folder):
    """(first offset, last offset, bytes) of each whole batch in a folder's segments."""
    for segment in segments(folder):
        raw, at = segment.read_bytes(), 0
        while at + SMALLEST <= len(raw):
            base, size = struct.unpack_from(">qi", raw, at)
            if size <= 0 or at + BATCH_HEADER + size > len(raw):
                break
            delta, = struct.unpack_from(">i", raw, at + LAST_OFFSET_DELTA)
            yield base, base + delta, raw[at:at + BATCH_HEADER + size]
            at += BATCH_HEADER + size


def shown(row):
    """One batch, as (last offset, bytes), in words."""
    return "no batch" if row is None else f"to {row[0]}, {len(row[1])} bytes, epoch {struct.unpack_from('>i', row[1], LEADER_EPOCH)[0]}"
