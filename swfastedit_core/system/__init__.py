"""Foundations on the operating system: commands, atomic files, processors, threads, time, memory, cupy."""
