"""The local adapter: workers are processes on this machine, started and drained by plan."""
