"""Leaves processes behind. Each writes its number into the file ``POLYWHEEL_TEST_PIDS``."""

import atexit
import os
import subprocess
import sys
import time

from hostile import Good

KIND = os.environ.get("POLYWHEEL_TEST_LEAVES", "")
PIDS = os.environ.get("POLYWHEEL_TEST_PIDS", "")
SLEEPER = """
import os, sys, time
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def sleep():
    with open(PIDS, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(600)
    os._exit(0)


def forked():
    if os.fork() == 0:
        sleep()


def session():
    if os.fork() == 0:
        os.setsid()
        sleep()


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3, 256):
                try:
                    os.close(number)
                except OSError:
                    pass
            os.chdir("/")
            sleep()
        os._exit(0)
    os.wait()


def popen(**options):
    subprocess.Popen([sys.executable, "-S", "-c", SLEEPER, PIDS], **options)


def popen_session():
    popen(start_new_session=True)


def popen_forgets():
    popen(start_new_session=True, env={})


def pool():
    for _ in range(5):
        session()


def hangs_too():
    session()
    while not (os.path.exists(PIDS) and os.path.getsize(PIDS)):
        time.sleep(0.01)
    time.sleep(600)


def at_exit():
    atexit.register(time.sleep, 600)
    forked()


class Plugin(Good):
    def get_all_configs(self):
        globals()[KIND]()
        wanted = 5 if KIND == "pool" else 1
        while not os.path.exists(PIDS) or len(open(PIDS).readlines()) < wanted:
            time.sleep(0.01)
        return super().get_all_configs()
