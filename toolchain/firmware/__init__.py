"""From a graph and a board to an image: pack, render, build, read the ELF."""
