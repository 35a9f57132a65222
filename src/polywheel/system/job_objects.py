"""Job objects of Windows: a process and all its descendants end together.

Windows does not end a process with its parent, and ``taskkill /T`` does not find a process whose parent has
ended. https://learn.microsoft.com/windows/win32/procthread/job-objects

Only Windows imports this module: a Python may lack :mod:`ctypes`.
"""

from __future__ import annotations

import ctypes
import sys

_KILL_ON_JOB_CLOSE, _BREAKAWAY_OK = 0x2000, 0x0800
_EXTENDED_LIMITS = 9
_SET_QUOTA, _TERMINATE = 0x0100, 0x0001


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time", ctypes.c_int64),
        ("per_job_user_time", ctypes.c_int64),
        ("limit_flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


if sys.platform == "win32":

    class Job:
        """A job object with one process and all its future descendants."""

        def __init__(self, process: int) -> None:
            """Put a process, given by its number, into a new job. Raises OSError."""
            self._kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            for name in ("CreateJobObjectW", "OpenProcess"):
                getattr(self._kernel, name).restype = ctypes.c_void_p
            self._handle = ctypes.c_void_p(self._check(self._kernel.CreateJobObjectW(None, None)))
            try:
                limits = ExtendedLimits()
                # A daemon may ask to leave the job, as a POSIX daemon creates a session of its own.
                limits.basic.limit_flags = _KILL_ON_JOB_CLOSE | _BREAKAWAY_OK
                size = ctypes.sizeof(limits)
                self._check(
                    self._kernel.SetInformationJobObject(
                        self._handle, _EXTENDED_LIMITS, ctypes.byref(limits), size
                    )
                )
                opened = self._kernel.OpenProcess(_SET_QUOTA | _TERMINATE, False, process)
                handle = ctypes.c_void_p(self._check(opened))
                try:
                    self._check(self._kernel.AssignProcessToJobObject(self._handle, handle))
                finally:
                    self._kernel.CloseHandle(handle)
            except BaseException:
                self.kill()
                raise

        def kill(self) -> None:
            """End all processes of the job."""
            if self._handle:
                self._kernel.TerminateJobObject(self._handle, 1)
                self._kernel.CloseHandle(self._handle)
                self._handle = ctypes.c_void_p()

        def _check(self, result: int | None) -> int:
            if not result:
                raise ctypes.WinError(ctypes.get_last_error())
            return result
