"""Finishes a deploy that was committed: a redo log, so that a power cut leaves the old or the new firmware.

A deploy writes the new files below /snyper.update, then renames /snyper.update.json into place. From
then on the deploy happens, however often it is interrupted. This file imports nothing of ours: the deployer
sends its source to boards that have none of our files.
"""

import json
import os

RECORD = "/snyper.update.json"
STAGE = "/snyper.update"
BOOT_STATE = "/snyper.boot.json"  # where the next boot finds how many have failed, and why it happens


def finish_renames() -> None:
    """Complete what a power cut has left of a change to LittleFS; to be called before any file is read.

    A rename from one directory to another takes two commits. Between them the file that comes next in the old
    directory cannot be seen either, until the first call that changes something: even one that fails.
    """
    try:
        os.remove("/snyper.absent")
    except OSError:
        pass


def apply() -> bool:
    """Apply the deploy that the record describes, if there is one, and return whether there was. May be
    interrupted anywhere and called again. A boot calls this first: what all else reads is whole then.

    The record has `files`, renamed in this order from the stage over the old ones, and `remove`. Raises
    OSError when the flash cannot be written.
    """
    finish_renames()
    try:
        with open(RECORD) as file:
            record = json.load(file)
        files, remove = record["files"], record["remove"]
    except OSError:
        return False
    except (ValueError, KeyError, TypeError):  # no deployer of ours wrote it
        os.remove(RECORD)
        return False
    for path in files:
        if _exists(STAGE + "/" + path):
            _make_parents("/" + path)
            os.rename(STAGE + "/" + path, "/" + path)
    for path in remove:
        if _exists("/" + path):
            os.remove("/" + path)
        _remove_empty_parents(path)
    _remove_tree(STAGE)
    os.remove(RECORD)
    try:
        with open(BOOT_STATE, "w") as file:
            json.dump({"failures": 0, "why": "update"}, file)
    except OSError:  # a full flash: the next boot then takes this reset for the watchdog's
        return True
    return True


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _make_parents(path: str) -> None:
    at = path.find("/", 1)
    while at > 0:
        if not _exists(path[:at]):
            os.mkdir(path[:at])
        at = path.find("/", at + 1)


def _remove_empty_parents(path: str) -> None:
    at = path.rfind("/")
    while at > 0:
        path = path[:at]
        try:
            os.rmdir("/" + path)
        except OSError:  # not empty, as is what holds it; or gone in a run before this one
            pass
        at = path.rfind("/")


def _remove_tree(path: str) -> None:
    if not _exists(path):
        return
    for name in os.listdir(path):
        child = path + "/" + name
        if os.stat(child)[0] & 0x4000:
            _remove_tree(child)
        else:
            os.remove(child)
    os.rmdir(path)
