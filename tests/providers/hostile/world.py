"""One that changes what it can reach, and one that looks what it finds."""

import os
import re
import random
import sys

from hostile import Config, Good


class Changes(Good):
    done = False

    def get_build_setup(self, properties):
        if not self.done:
            self.change()
        self.done = True
        return super().get_build_setup(properties)

    def change(self):
        os.chdir("/")
        os.environ.clear()
        os.environ["PATH"] = "/nowhere"
        os.environ = {}
        sys.argv.clear()
        sys.path = None
        sys.setrecursionlimit(200)
        for stream in (sys.stdout, sys.stderr, sys.stdin):
            stream.close()
        sys.stdout = sys.stderr = sys.stdin = sys.__stdout__ = 5
        for number in range(3):
            os.close(number)


class Looks(Good):
    def get_all_configs(self):
        print("out")
        print("err", file=sys.stderr)
        os.write(1, b"one\n")
        os.write(2, b"two\n")
        assert sys.stdin.read() == ""
        return [
            Config("folder", [re.sub("[^a-z0-9]", ".", os.getcwd().lower())]),
            Config("path", [str(os.environ["PATH"] != "/nowhere").lower()]),
            Config("argument", [str(len(sys.argv))]),
            Config("depth", [str(sys.getrecursionlimit() > 200).lower()]),
            Config("search", [str("hostile" in sys.modules and len(sys.path) > 2).lower()]),
        ]


class Changing(Good):
    """Says something else each time."""

    def get_all_configs(self):
        return [Config(values=[f"v{random.randrange(10**9)}", "v2"])]

    def get_build_setup(self, properties):
        return {"cflags": [f"-D{random.randrange(10**9)}"]}
