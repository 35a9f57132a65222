"""Prints whatever it can, wherever it can."""

import os
import subprocess
import sys

from hostile import Good

KIND = os.environ.get("POLYWHEEL_TEST_PRINTS", "plain")


def plain():
    print("hello")
    print('{"answers": []}')
    print("a warning", file=sys.stderr)


def wild():
    print("red \x1b[31mred\x1b[0m \x07bell \x9b31m \u202egnorw \u2028 line")
    print("tab\there\rover \x00nul \ud800 lone")
    sys.stdout.buffer.write(b"not utf-8: \xff\xfe\n")
    print("\n\n   \n")


def descriptor():
    os.write(1, b"to 1\n")
    os.write(2, b"to 2\n")
    subprocess.run([sys.executable, "-c", "print('a child')"], check=True)


def megabytes():
    for number in range(200):
        print(f"{number} " + "x" * 100_000)
    print("the end")


def endless():
    while True:
        os.write(1, b"x" * 1_000_000)


def unfinished():
    sys.stdout.write("no line end")
    sys.stdout = open(os.devnull, "w")


def dies():
    print("last words")
    os._exit(0)


class Plugin(Good):
    def get_all_configs(self):
        globals()[KIND]()
        return super().get_all_configs()
