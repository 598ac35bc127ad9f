"""Many clips and many machines: queue, batch folders, workers, cluster interchange."""
