"""Every error that duologue raises on purpose.

    DuologueError                     what the command line turns into one line
    ├── UsageError          (ValueError)         the command was called wrongly: exit code 2
    ├── ConfigError         (ValueError)         a recipe key, flag or generation setting is wrong
    ├── DataError           (ValueError)         a dialogue file cannot be used
    ├── ModelFolderError    (ValueError)         a model folder is incomplete or does not fit
    ├── ContextLengthError  (ValueError)         more tokens than the model can see
    ├── HubError            (RuntimeError)       a model cannot be had from where it was looked for
    ├── RunFolderError      (RuntimeError)       a run folder cannot be written or resumed
    ├── NumericalError      (ArithmeticError)    a loss or a logit is not finite
    ├── OutOfMemoryError    (RuntimeError)       the machine has no memory left for this
    ├── ProcessLostError    (RuntimeError)       another process of the same run is gone
    ├── BusyError           (RuntimeError)       too many requests wait already
    └── ClosedError         (RuntimeError)       what was asked is closed

A message is one line. It says where, what was found, what was expected and what to do.
"""


class DuologueError(Exception):
    """The root of all errors that duologue raises on purpose."""

    exit_code = 1


class UsageError(DuologueError, ValueError):
    """The command was called in a way that it cannot be."""

    exit_code = 2


class ConfigError(DuologueError, ValueError):
    """A recipe key, a flag or a generation setting is unknown or out of range."""

    exit_code = 2


class DataError(DuologueError, ValueError):
    """A dialogue file is missing, unreadable, or holds nothing to learn from."""


class ModelFolderError(DuologueError, ValueError):
    """A model folder lacks a file or a tensor, or one of them does not fit."""


class ContextLengthError(DuologueError, ValueError):
    """The input needs more tokens than the model's context holds."""


class HubError(DuologueError, RuntimeError):
    """A model cannot be had from where it was looked for."""


class RunFolderError(DuologueError, RuntimeError):
    """A run folder cannot be written, or does not belong to this run."""


class NumericalError(DuologueError, ArithmeticError):
    """A loss, a gradient or a logit is not a finite number."""


class OutOfMemoryError(DuologueError, RuntimeError):
    """The machine has no memory left for what was asked."""


class ProcessLostError(DuologueError, RuntimeError):
    """Another process of the same run is gone, and this one cannot go on without it."""


class BusyError(DuologueError, RuntimeError):
    """Too many requests wait already; a later one may be taken."""


class ClosedError(DuologueError, RuntimeError):
    """What was asked is closed, or was closed before it could answer."""
