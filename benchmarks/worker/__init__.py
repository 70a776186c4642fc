"""What bench_worker measures: one file per metric, and the stage that they share."""
