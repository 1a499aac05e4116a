"""With this folder on PYTHONPATH every Python process finds the fake GPU."""

import fake_gpu

if not fake_gpu.absent():
    fake_gpu.install()
