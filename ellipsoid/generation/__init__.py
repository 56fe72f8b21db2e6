"""Large batches: any number of rows or images into files, in bounded memory, resumable."""

from ellipsoid.generation.generate import generate as generate
