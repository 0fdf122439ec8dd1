"""On PYTHONPATH, this makes every process that starts refuse to unpickle: a pickle runs whatever it names."""

import pickle


def _refuse(*args, **kwargs):
    raise AssertionError("something was unpickled")


class _Unpickler:
    def __init__(self, *args, **kwargs):
        _refuse()


pickle.load = pickle.loads = pickle._load = pickle._loads = _refuse
pickle.Unpickler = pickle._Unpickler = _Unpickler
