"""The few files by which a machine is read, copied from a board: a tree that readers take for a file system's root."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vlm_contract.errors import VlmError
from vlm_targets._files import SAID
from vlm_targets.reach import Machine

LIMIT_S = 60.0
FILES_MAX = 1500
FILE_LIMIT_BYTES = 256 * 1024
NAME_MAX = 255  # bytes of a file's name on Linux (limits.h)
VALUE_LIMIT_BYTES = 64  # of a sampled file: one number

# Files whose values change, one number each: what sensors read again and again. Energy that RAPL counts is none of
# them: its sensor divides by the time that has passed here, not there.
SAMPLED = (
    "sys/class/thermal/thermal_zone*/temp",
    "sys/class/hwmon/hwmon*/temp*_input",
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
    "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_input",
    "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr*_input",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input",
    "sys/class/devfreq/*/cur_freq",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq",
    "sys/devices/platform/soc*/*firmware/get_throttled",
)
# And the others: what it is (vlm_targets.host, .jetson), its state (vlm_profile.machine), its sensors' names.
FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/self/cgroup",
    "proc/sys/kernel/osrelease",
    "proc/device-tree/model",
    "proc/device-tree/compatible",
    "proc/driver/nvidia/gpus/*/information",
    "proc/pressure/cpu",
    "proc/pressure/memory",
    "etc/os-release",
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    "sys/class/dmi/id/product_name",
    "sys/bus/pci/devices/*/vendor",
    "sys/bus/pci/devices/*/device",
    "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/user.slice/cpu.max",
    "sys/fs/cgroup/user.slice/*/cpu.max",
    "sys/fs/cgroup/user.slice/*/*/cpu.max",
    "sys/devices/system/cpu/smt/control",
    "sys/devices/system/cpu/intel_pstate/no_turbo",
    "sys/devices/system/cpu/cpufreq/boost",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/class/devfreq/*/min_freq",
    "sys/class/devfreq/*/max_freq",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/hwmon/hwmon*/name",
    "sys/class/hwmon/hwmon*/temp*_label",
    "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*",
    *SAMPLED,
)
# What only a program says, by the name that its answer is kept under. `nproc` knows the affinity mask of this login.
COMMANDS = {
    "uname-m": "uname -m",
    "nproc": "nproc",
    "nvpmodel-q": "sh -c '[ -r var/lib/nvpmodel/status ] || nvpmodel -q'",
    "nvidia-l4t-core": "dpkg-query -W -f '${Version}' nvidia-l4t-core",
}

_FIRST, _LAST = "vlm-edge mirror", "end"
# A path, and in the next line the file in hexadecimal: with od, of POSIX, which every board has, and no NUL is lost. A
# file that cannot be read to its end is left out. $VLM_EDGE_ROOT is for boards whose /proc and /sys lie elsewhere.
_SCRIPT = f"""
PATH=$PATH:/usr/sbin:/sbin
cd "${{VLM_EDGE_ROOT:-/}}" || exit
echo '{_FIRST}'
count=0
for file in {" ".join(FILES)}; do
  [ -f "$file" ] && [ -r "$file" ] || continue
  case $file in *[[:cntrl:]]*) continue ;; esac
  bytes=$(od -An -v -tx1 -N {FILE_LIMIT_BYTES} "$file" 2>/dev/null) || continue
  printf '%s\\n' "$file"
  echo $bytes
  count=$((count + 1))
  [ "$count" -lt {FILES_MAX} ] || break
done
say() {{
  name=$1; shift
  bytes=$("$@" 2>/dev/null </dev/null | od -An -v -tx1 -N {FILE_LIMIT_BYTES}) || return
  printf '%s\\n' "{SAID}/$name"
  echo $bytes
}}
{chr(10).join(f"say {name} {command}" for name, command in COMMANDS.items())}
echo '{_LAST}'
"""


def mirrored(machine: Machine, into: Path) -> Path:
    """Copy what readers need of a machine's /proc, /sys, /etc and /var into a folder, and return it as a root.

    Unreadable files are left out. Raises VlmError where the machine answers with something else.
    """
    done = machine.run(["sh", "-c", _SCRIPT], LIMIT_S)
    where = machine.address or "this machine"
    if done.code != 0:
        raise VlmError(f"{where} could not be looked at: {done.err.strip()[-200:] or f'sh ended with {done.code}'}.")
    lines = done.out.splitlines()
    if len(lines) < 2 or (lines[0], lines[-1]) != (_FIRST, _LAST) or len(lines) % 2:
        raise VlmError(f"{where} was asked what it is, and its answer is not whole ({len(done.out)} characters).")
    for name, data in _files_in(lines[1:-1], where):
        try:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(data)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            raise _unasked(where, str(name)) from None  # a file and a folder at once
    return into


def _files_in(lines: list[str], where: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Raises VlmError for what was not asked for: a board's names never lead out of a folder here."""
    if len(lines) > 2 * (FILES_MAX + len(COMMANDS)):
        raise VlmError(f"{where} was asked what it is, and answered with {len(lines) // 2} files.")
    for name, data in zip(lines[::2], lines[1::2], strict=True):
        if not was_asked_for(name) or not re.fullmatch(r"([0-9a-f]{2} ?)*", data):
            raise _unasked(where, name)
        path, content = PurePosixPath(name), bytes.fromhex(data)
        if not _is_sampled(path) or len(content) <= VALUE_LIMIT_BYTES:
            yield path, content


def _unasked(where: str, name: str) -> VlmError:
    return VlmError(f"{where} was asked what it is, and answered with {name[:80]!r}.")


def was_asked_for(name: str) -> bool:
    """Whether it is one of the files, by a plain relative path."""
    path = PurePosixPath(name)
    if str(path) != name or path.is_absolute() or ".." in path.parts or not name.isprintable():
        return False
    if max(len(part.encode()) for part in path.parts or ("",)) > NAME_MAX:
        return False
    return any(_fits(path, glob) for glob in (*FILES, *(f"{SAID}/{command}" for command in COMMANDS)))


def sampled_files(tree: Path) -> tuple[str, ...]:
    """The paths, in a mirrored tree, of the files whose values change."""
    return tuple(sorted(str(path.relative_to(tree)) for glob in SAMPLED for path in tree.glob(glob)))


def _is_sampled(path: PurePosixPath) -> bool:
    return any(_fits(path, glob) for glob in SAMPLED)


def _fits(path: PurePosixPath, glob: str) -> bool:
    return len(path.parts) == glob.count("/") + 1 and path.match(glob)
