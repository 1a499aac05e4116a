"""Sessions of onnxruntime whose threads sleep while they have nothing to do.

By default they spin for a while after each run. That lets the next run of a large model start sooner; a suite of
thousands of small runs, in processes that share the cores, spends a fifth of its processor time so. Results and the
number of threads are the same.
"""

from __future__ import annotations

from typing import Any


def let_them_sleep() -> None:
    """Let the sessions that are opened from now on have threads that sleep; nothing without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession
    plain = session.__init__

    def opened(self: Any, model: Any, sess_options: Any = None, *rest: Any, **more: Any) -> None:
        options = onnxruntime.SessionOptions() if sess_options is None else sess_options
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        plain(self, model, options, *rest, **more)

    session.__init__ = opened
