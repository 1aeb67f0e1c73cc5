"""What is watched, one module for each sort; each lists its `LIBRARIES`."""
