"""Several processes on one machine: started, restarted when they die, drained by one signal."""
