"""A build backend that does one odd thing: the variable ZOO_DOES names it, as ``HOOK: THING``.

It is appended to tests/support/fake_backend.py.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time

HOOK, _, THING = os.environ.get("ZOO_DOES", "build_wheel: nothing").partition(": ")


RIGHT = "demo-1.0-py3-none-any.whl"
FILES = {"demo/__init__.py": "value = 1\n"}


def put(folder, name, content=None, files=FILES, **names):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(wheel_content(files, **names) if content is None else content)
    return name


def raises(error):
    raise error


def forks_a_daemon(keep_output=True):
    code = "import time; time.sleep(120)"
    streams = {} if keep_output else dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, close_fds=False, **streams
    )


def crowd():
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(300)


def ignores_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def closes_descriptors():
    os.closerange(0, 256)


def fills_its_log():
    block = b"all work and no play " * 50_000
    for _ in range(700):
        os.write(1, block)


def spoils_the_source():
    for name in os.listdir("."):
        if os.path.isfile(name) and name != "backend.py":
            with open(name, "a") as file:
                file.write("# spoilt\n")
    with open("new.txt", "w") as file:
        file.write("new")


def removes_everything():
    for name in os.listdir("."):
        shutil.rmtree(name) if os.path.isdir(name) else os.remove(name)


def removes_its_folder():
    here = os.getcwd()
    os.chdir("/")
    shutil.rmtree(here)


def replaces_the_folder(folder):
    elsewhere = folder + "-elsewhere"
    os.rename(folder, elsewhere)
    os.symlink(elsewhere, folder)
    return put(folder, RIGHT)


def link_to(target):
    def make(folder):
        os.symlink(target, os.path.join(folder, RIGHT))
        return RIGHT

    return make


def link_to_a_wheel(folder):
    put(folder, "hidden")
    os.symlink("hidden", os.path.join(folder, RIGHT))
    return RIGHT


def makes_a_socket(folder):
    here = os.getcwd()
    os.chdir(folder)
    socket.socket(socket.AF_UNIX).bind(RIGHT)
    os.chdir(here)
    return RIGHT


def makes_a_pipe(folder):
    os.mkfifo(os.path.join(folder, RIGHT))
    return RIGHT


def makes_a_folder(folder):
    os.mkdir(os.path.join(folder, RIGHT))
    return RIGHT


def many_wheels(folder):
    for number in range(300):
        put(folder, f"other{number}-1.0-py3-none-any.whl", b"x")
    return put(folder, RIGHT)


def sets_times(folder):
    put(folder, RIGHT)
    os.utime(os.path.join(folder, RIGHT), (2**33, 2**33))
    return RIGHT


def sets_no_mode(folder):
    put(folder, RIGHT)
    os.chmod(os.path.join(folder, RIGHT), 0)
    return RIGHT


def bomb(folder):
    return put(folder, RIGHT, files={**FILES, "demo/zeros": bytes(80_000_000)})


def pipes_for_the_worker(folder):
    """The worker's response, if it can be found: a pipe in its place."""
    found = 0
    for base in {os.environ.get("TMPDIR", "/tmp")}:
        for path, _, names in os.walk(base):
            for name in names:
                if name in ("request.json", "response.json"):
                    os.remove(os.path.join(path, name))
                    os.mkfifo(os.path.join(path, name))
                    found += 1
            if not names and os.path.basename(path).startswith("polywheel"):
                os.mkfifo(os.path.join(path, "response.json"))
    return put(folder, RIGHT)


def waits_for_threads():
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(600,)).start()


# What a hook may do before it returns what it should.
ACTS = {
    "nothing": lambda: None,
    "prints": lambda: print("\x1b[2J\x1b]0;owned\x07::error::no\n::set-output name=x::y\n\u202e"),
    "prints bytes": lambda: os.write(1, bytes(range(256)) * 2000),
    "prints a line without an end": lambda: os.write(1, b"x" * 3_000_000),
    "fills its log": fills_its_log,
    "hangs": lambda: time.sleep(600),
    "spins": lambda: all(iter(int, 1)) or any(iter(int, 1)),
    "hangs and ignores signals": ignores_signals,
    "hangs in threads": waits_for_threads,
    "stops itself": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raises": lambda: raises(ValueError("a \x1b[31mred\x1b[0m word\n::error::and another")),
    "raises BaseException": lambda: raises(KeyboardInterrupt()),
    "sys.exit(0)": lambda: sys.exit(0),
    "sys.exit(text)": lambda: sys.exit("bye"),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(3)": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kills itself": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kills its parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "kills its group": lambda: os.killpg(0, signal.SIGKILL),
    "no memory": lambda: bytearray(2**62),
    "recursion": lambda: raises(RecursionError()),
    "a daemon": forks_a_daemon,
    "a silent daemon": lambda: forks_a_daemon(keep_output=False),
    "a crowd": crowd,
    "closes descriptors": closes_descriptors,
    "spoils the source": spoils_the_source,
    "removes everything": removes_everything,
    "removes its folder": removes_its_folder,
    "reads input": lambda: sys.stdin.read(),
    "asks": lambda: input("yes or no? "),
}

# What build_wheel may return, and leave in the folder.
RETURNS = {
    "None": lambda folder: None,
    "a number": lambda folder: 7,
    "an empty name": lambda folder: "",
    "a dot": lambda folder: ".",
    "a name that leads out": lambda folder: put(folder, "../" + RIGHT),
    "an absolute path": lambda folder: os.path.join(folder, put(folder, RIGHT)),
    "a wheel that is not there": lambda folder: RIGHT,
    "a huge name": lambda folder: "x" * 5_000_000,
    "a name with an escape sequence": lambda folder: put(
        folder, "demo-1.0-py3-none-any\x1b[2J\n::error::.whl"
    ),
    "no wheel": lambda folder: put(folder, "demo-1.0.txt"),
    "text": lambda folder: put(folder, RIGHT, b"this is no archive"),
    "nothing in it": lambda folder: put(folder, RIGHT, b""),
    "half a wheel": lambda folder: put(folder, RIGHT, wheel_content(FILES)[:300]),
    "another project": lambda folder: put(
        folder, "other-1.0-py3-none-any.whl", project="other-1.0"
    ),
    "another version": lambda folder: put(
        folder, "demo-2.0-py3-none-any.whl", project="demo-2.0"
    ),
    "another project within": lambda folder: put(
        folder, RIGHT, metadata="other-1.0"
    ),
    "another dist-info": lambda folder: put(folder, RIGHT, project="other-1.0"),
    "another platform": lambda folder: put(
        folder,
        "demo-1.0-cp311-cp311-win_amd64.whl",
        tag="cp311-cp311-win_amd64",
    ),
    "another tag within": lambda folder: put(folder, RIGHT, tag="cp27-cp27m-any"),
    "a label in its name": lambda folder: put(folder, "demo-1.0-py3-none-any-odd.whl"),
    "a file that leads out": lambda folder: put(
        folder, RIGHT, files={**FILES, "../../evil.py": b""}
    ),
    "a bomb": bomb,
    "a link to a wheel": link_to_a_wheel,
    "a link to a device": link_to("/dev/zero"),
    "a link to itself": link_to(RIGHT),
    "a link to a file outside": link_to("/etc/passwd"),
    "a socket": makes_a_socket,
    "a pipe": makes_a_pipe,
    "a folder": makes_a_folder,
    "many wheels": many_wheels,
    "a time to come": sets_times,
    "no mode": sets_no_mode,
    "the folder replaced": replaces_the_folder,
    "pipes for the worker": pipes_for_the_worker,
}

# What get_requires_for_build_wheel may return.
REQUIRES = {
    "None": None,
    "a string": "setuptools",
    "a number": [7],
    "malformed": ["::error::\x1b[2J no requirement"],
    "line breaks": ["a\nb"],
    "another polywheel": ["polywheel==99"],
    "what is not there": ["polywheel-zoo-does-not-exist-anywhere==1"],
    "a huge list": ["packaging"] * 100_000,
}


def does(hook):
    if hook == HOOK and THING in ACTS:
        ACTS[THING]()


if HOOK == "import":
    if THING == "SyntaxError":
        exec("this is no Python")
    elif THING == "ImportError":
        import polywheel_zoo_does_not_exist  # noqa
    else:
        does("import")


def get_requires_for_build_wheel(config_settings=None):
    does("get_requires_for_build_wheel")
    if HOOK == "get_requires_for_build_wheel" and THING in REQUIRES:
        return REQUIRES[THING]
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    does("build_wheel")
    if HOOK == "build_wheel" and THING in RETURNS:
        return RETURNS[THING](wheel_directory)
    return put(wheel_directory, RIGHT)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    does("prepare_metadata_for_build_wheel")
    raise SystemExit("not asked for by polywheel build")


if HOOK == "build_sdist":

    def build_sdist(sdist_directory, config_settings=None):
        does("build_sdist")
        name = "demo-1.0.tar.gz"
        if THING == "a wheel that is not there":
            return name
        if THING == "None":
            return None
        if THING == "a pipe":
            os.mkfifo(os.path.join(sdist_directory, name))
            return name
        if THING == "text":
            return put(sdist_directory, name, b"no archive")
        if THING == "a link to a device":
            os.symlink("/dev/zero", os.path.join(sdist_directory, name))
            return name
        top = "other-1.0" if THING == "another project" else "demo-1.0"
        with tarfile.open(os.path.join(sdist_directory, name), "w:gz") as archive:
            for path in sorted(os.listdir(".")):
                if os.path.isfile(path):
                    archive.add(path, f"{top}/{path}")
            if THING == "a link that leads out":
                info = tarfile.TarInfo(f"{top}/out")
                info.type, info.linkname = tarfile.SYMTYPE, "../../../../etc"
                archive.addfile(info)
            if THING == "a file that leads out":
                archive.addfile(tarfile.TarInfo(f"{top}/../../evil"))
            if THING == "a device":
                info = tarfile.TarInfo(f"{top}/null")
                info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
                archive.addfile(info)
        return name
