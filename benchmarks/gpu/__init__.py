"""What bench_gpu needs: checkpoints of real sizes, and the plain loop over any of them."""
