"""The table of results."""

import threading
import time


class Report:
    """Prints each result as it comes and counts."""

    def __init__(self):
        self.failures, self.passed, self.skipped = [], 0, 0
        self.lock, self.begin = threading.Lock(), time.monotonic()
        print(f"{'client':<14}{'version':<16}{'check':<74}result", flush=True)

    def add(self, client, version, result, check, note=""):
        with self.lock:
            line = f"{client:<14}{version:<16}{check:<74}{result}"
            if result == "failed":
                self.failures.append((client, check, note))
                line += f"\n    {note}"
            elif result == "ok":
                self.passed += 1
            else:
                self.skipped += 1
            print(line, flush=True)

    def end(self):
        """Repeats what failed, prints the last line; returns the exit code."""
        if self.failures:
            print("\nfailed:")
        for client, check, note in self.failures:
            print(f"  {client}: {check}\n      {note}")
        print(f"\n{time.monotonic() - self.begin:.0f} s")
        print(f"{self.passed} passed, {len(self.failures)} failed")
        return 1 if self.failures or not self.passed else 0
