"""The passes of `load`: the list of them, what each requires and ensures, and the state that they change."""
