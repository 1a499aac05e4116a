"""A mutable graph and the tools of every rewrite: builder, constant folding, shape inference."""
