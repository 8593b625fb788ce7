"""Fuzz targets: what reads bytes of strangers, held to answering or refusing and nothing else."""
