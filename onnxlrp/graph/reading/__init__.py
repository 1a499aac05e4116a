"""Reading of files: protobuf, checks of structure and memory, weights in other files, module paths."""
