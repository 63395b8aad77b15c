"""What a measurement needs of the machine before it, and gives back after it: memory and room on the disk."""

import mmap
import os

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


def emptied(folder):
    """Gives back what the folder's files have of the disk. They stay: ext4 without a journal does not give out the numbers of
    files that were deleted in the last minutes, and looks for others one by one, which the next server would be charged with."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)
