"""Memory that was written to before a measurement."""

import mmap

# How much memory is written to before a load that writes much, in bytes at scale 1: more than any of them uses.
TOUCHED_BYTES = 5 << 30
MADV_POPULATE_WRITE = 23


def touch_memory(scale):
    """Writes to free memory: a guest's fresh memory costs several times as much on the first write, and a host may take back in
    seconds what a server or its files have left, so that the next measurement would pay for it."""
    free = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    with mmap.mmap(-1, min(int(TOUCHED_BYTES * scale), int(free * 0.5)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(MADV_POPULATE_WRITE)
        except OSError:
            # Linux before 5.14.
            for at in range(0, len(memory), mmap.PAGESIZE):
                memory[at] = 1
