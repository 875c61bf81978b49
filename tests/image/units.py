# SPDX-License-Identifier: MIT
"""The units of docker/ as systemd reads them, and how exposed it finds what they start."""
import os
import pathlib
import subprocess

SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
FOLDER = pathlib.Path(os.environ["TEST_SCRATCH"], "units")
EXPOSURE_MAX = {"latchkey.service": 1.5, "latchkey-rekey.service": 3.0}  # of 10


def laid_out():
    """With the paths of what they start in this tree, since nothing is installed on this machine."""
    FOLDER.mkdir(exist_ok=True)
    for path in (SOURCE / "docker").glob("latchkey*.*"):
        text = path.read_text().replace("/usr/local/bin/latchkey", os.environ["TEST_BUILD_DIR"] + "/simprovider")
        text = text.replace("/usr/local/lib/latchkey-rotate-key", str(SOURCE / "docker/rotate-key"))
        (FOLDER / path.name).write_text(text)
    drop_ins = FOLDER / "latchkey.service.d"
    drop_ins.mkdir(exist_ok=True)
    (FOLDER / "latchkey-stores.conf").rename(drop_ins / "stores.conf")
    return sorted(path for path in FOLDER.glob("latchkey*.*") if path.is_file())


def analyze(*arguments):
    command = ["systemd-analyze", *map(str, arguments)]
    env = os.environ | {"SYSTEMD_UNIT_PATH": f"{FOLDER}:"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def the_units_are_valid():
    units = laid_out()
    assert [unit.name for unit in units] == ["latchkey-rekey.service", "latchkey-rekey.timer", "latchkey.service"]
    status, text = analyze("verify", "--man=no", *units)
    assert status == 0 and "latchkey" not in text, text


def what_they_start_is_confined():
    for name, exposure in EXPOSURE_MAX.items():
        status, text = analyze("security", "--offline=true", f"--threshold={exposure * 10:.0f}", FOLDER / name)
        print("     " + text.strip().splitlines()[-1])
        assert status == 0, text


TESTS = [the_units_are_valid, what_they_start_is_confined]
