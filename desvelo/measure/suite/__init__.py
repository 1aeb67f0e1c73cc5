"""A pytest suite of the target's, run as a whole: in parallel, repeated, and narrowed down."""
