"""The product: the questions that are asked of a system under load, one file each."""
