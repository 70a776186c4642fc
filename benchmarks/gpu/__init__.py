"""What bench_gpu needs: checkpoints of real sizes, and what is measured with them."""
