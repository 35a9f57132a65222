"""Does one thing in one call: ``POLYWHEEL_TEST_DOES`` is ``CALL: THING``."""

import ctypes
import os
import shutil
import signal
import sys
import threading
import time

from hostile import Good


class Unspeakable(Exception):
    def __str__(self):
        raise SystemExit("no words")


class Odd(BaseException):
    pass


def raises(error):
    raise error


def recurses():
    recurses()


def forks_a_child_that_goes_on():
    os.fork()


def forks_a_child_that_exits():
    if os.fork() == 0:
        sys.exit("the child")


def spoils_json():
    import json

    json.dumps = lambda *arguments: "{}"


def hangs_with_threads():
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(600,)).start()


def hangs_with_its_threads():
    hangs_with_threads()
    time.sleep(600)


def replaces_its_folder():
    shutil.rmtree(sys.argv[1])
    with open(sys.argv[1], "w"):
        pass


def puts_pipes_into_its_folder():
    for name in ("log", "log-0", "answer.json", "progress"):
        path = os.path.join(sys.argv[1], name)
        if os.path.exists(path):
            os.remove(path)
        os.mkfifo(path)


def forges_an_answer():
    with open(os.path.join(sys.argv[1], "answer.json"), "w") as file:
        file.write(os.environ["POLYWHEEL_TEST_ANSWER"])
    os._exit(0)


def reads_input():
    assert sys.stdin.read() == ""
    assert os.read(0, 10) == b""


def closes_descriptors():
    for number in range(3):
        try:
            os.close(number)
        except OSError:
            pass


def prints_into_nowhere():
    closes_descriptors()
    print("into nowhere")


THINGS = {
    "nothing": lambda: None,
    "ValueError": lambda: raises(ValueError("a \x1b[31mred\x1b[0m word\nand \ud800 another")),
    "KeyboardInterrupt": lambda: raises(KeyboardInterrupt()),
    "BaseException": lambda: raises(Odd("odd")),
    "GeneratorExit": lambda: raises(GeneratorExit()),
    "unspeakable": lambda: raises(Unspeakable()),
    "sys.exit": sys.exit,
    "sys.exit(text)": lambda: sys.exit("bye"),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(3)": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "its group killed": lambda: os.killpg(0, signal.SIGTERM),
    "segfault": lambda: ctypes.string_at(0),
    "recursion": recurses,
    "no memory": lambda: bytearray(2**62),
    "hangs": lambda: time.sleep(600),
    "spins": lambda: all(iter(int, 1)) or any(iter(int, 1)),
    "hangs in a thread": hangs_with_threads,
    "hangs in all threads": hangs_with_its_threads,
    "removes its folder": lambda: shutil.rmtree(sys.argv[1]),
    "replaces its folder": replaces_its_folder,
    "puts pipes into its folder": puts_pipes_into_its_folder,
    "forges an answer": forges_an_answer,
    "forks a child that goes on": forks_a_child_that_goes_on,
    "forks a child that exits": forks_a_child_that_exits,
    "spoils json": spoils_json,
    "reads input": reads_input,
    "asks": lambda: input("yes or no? "),
    "closes descriptors": closes_descriptors,
    "prints into nowhere": prints_into_nowhere,
}

CALL, _, THING = os.environ.get("POLYWHEEL_TEST_DOES", "import: nothing").partition(": ")


def does(call):
    if call == CALL:
        THINGS[THING]()


does("import")


class Plugin(Good):
    def __init__(self):
        does("its constructor")

    @property
    def namespace(self):
        does("namespace")
        return "odd"

    def get_all_configs(self):
        does("get_all_configs")
        return super().get_all_configs()

    def validate_property(self, variant_property):
        does("validate_property")
        return super().validate_property(variant_property)

    def get_supported_configs(self):
        does("get_supported_configs")
        return super().get_supported_configs()

    @property
    def is_aot_plugin(self):
        does("all_properties_compatible")
        return False

    def get_build_setup(self, properties):
        does("get_build_setup")
        return super().get_build_setup(properties)
