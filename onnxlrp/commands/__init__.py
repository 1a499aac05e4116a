"""The commands of the command line: one module each, loaded when it is asked for.

`parsers` declares their arguments and imports nothing heavy, so that help is quick; a command's module has
`run(args, console) -> exit code`.
"""
