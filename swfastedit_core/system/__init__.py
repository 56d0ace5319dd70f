"""What the operating system gives: commands, atomic files, processors, threads, time and memory, cupy."""
