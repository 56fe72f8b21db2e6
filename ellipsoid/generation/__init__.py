"""Large batches: any number of rows or images, written to files in bounded memory, and resumable."""

from ellipsoid.generation.generate import generate as generate
