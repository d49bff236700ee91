"""Each kind of sensor is found in a tree of files as its kernel lays them out, and read in its unit."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vlm_profile.sensors import read_all, sensors
from vlm_profile.sensors.rapl import Package

HWMON, IIO = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3", "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
ORIN_NANO = {
    f"{HWMON}/in1_label": "VDD_IN",
    f"{HWMON}/in1_input": "5000",
    f"{HWMON}/curr1_input": "1200",
    f"{HWMON}/in2_label": "VDD_CPU_GPU_CV",
    f"{HWMON}/in2_input": "5000",
    f"{HWMON}/curr2_input": "300",
    f"{HWMON}/in7_label": "sum of shunt voltages",
    f"{HWMON}/in7_input": "12",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48500",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal",  # cannot be read while that engine is off
    "sys/class/hwmon/hwmon2/name": "soctherm_oc",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "37",
    "sys/class/hwmon/hwmon4/name": "another",
    "sys/class/hwmon/hwmon4/oc3_event_cnt": "5",
}
ORIN_NANO_VALUES = {
    "power_w VDD_IN": 6.0,
    "power_w VDD_CPU_GPU_CV": 1.5,
    "temperature_c cpu-thermal": 48.5,
    "overcurrent_events oc3": 37.0,
}
AGX_ORIN = {
    f"{HWMON}/in1_label": "VDD_GPU_SOC",
    f"{HWMON}/in1_input": "20000",
    f"{HWMON}/curr1_input": "500",
    f"{HWMON}/in2_label": "VDD_CPU_CV",
    f"{HWMON}/in2_input": "20000",
    f"{HWMON}/curr2_input": "100",
    f"{HWMON}/in3_label": "NC",
    f"{HWMON}/in3_input": "5000",
    f"{HWMON}/curr3_input": "7",
}
NANO = {
    f"{IIO}/rail_name_0": "POM_5V_IN",
    f"{IIO}/in_power0_input": "3250",
    f"{IIO}/rail_name_1": "NC",
    f"{IIO}/in_power1_input": "1",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm",
    "sys/class/thermal/thermal_zone0/temp": "34000",
    "sys/class/thermal/thermal_zone4/type": "PMIC-Die",
    "sys/class/thermal/thermal_zone4/temp": "100000",
}
XAVIER_NX = {  # JetPack 4
    **{f"{IIO}/rail_name_{i}": name for i, name in enumerate(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"))},
    **{f"{IIO}/in_power{i}_input": milliwatts for i, milliwatts in enumerate(("5274", "693", "1386"))},
}
PI = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "61322",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
}
SERVER = {  # two packages, and the mainboard's zones twice under one name
    **{f"sys/class/hwmon/hwmon{i}/name": "k10temp" for i in (3, 4)},
    **{f"sys/class/hwmon/hwmon{i}/temp1_label": "Tctl" for i in (3, 4)},
    "sys/class/hwmon/hwmon3/temp1_input": "61000",
    "sys/class/hwmon/hwmon4/temp1_input": "72000",
    "sys/class/hwmon/hwmon4/temp3_input": "70000",
    "sys/class/hwmon/hwmon5/name": "nvme",
    "sys/class/hwmon/hwmon5/temp1_input": "80000",
    **{f"sys/class/thermal/thermal_zone{i}/type": "acpitz" for i in (0, 1)},
    "sys/class/thermal/thermal_zone0/temp": "16800",
    "sys/class/thermal/thermal_zone1/temp": "27800",
}
SERVER_VALUES = {
    "temperature_c acpitz (thermal_zone0)": 16.8,
    "temperature_c acpitz (thermal_zone1)": 27.8,
    "temperature_c k10temp Tctl (hwmon3)": 61.0,
    "temperature_c k10temp Tctl (hwmon4)": 72.0,
}
UNKNOWN_CHIP = {"sys/class/hwmon/hwmon0/temp2_input": "40000"}
DESKTOP = {
    "sys/class/hwmon/hwmon0/name": "k10temp",
    "sys/class/hwmon/hwmon0/temp1_label": "Tctl",
    "sys/class/hwmon/hwmon0/temp1_input": "55125",
}

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def made(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")
        return tmp_path

    return made


@pytest.mark.parametrize(
    ("files", "values"),
    [
        (ORIN_NANO, ORIN_NANO_VALUES),
        (AGX_ORIN, {"power_w VDD_GPU_SOC": 10.0, "power_w VDD_CPU_CV": 2.0, "power_w sum of rails": 12.0}),
        (NANO, {"power_w POM_5V_IN": 3.25, "temperature_c CPU-therm": 34.0}),
        (XAVIER_NX, {"power_w VDD_IN": 5.274, "power_w VDD_CPU_GPU_CV": 0.693, "power_w VDD_SOC": 1.386}),
        (PI, {"temperature_c cpu-thermal": 61.322, "throttled_bits pi": 0x50005}),
        (DESKTOP, {"temperature_c k10temp Tctl": 55.125}),
        (SERVER, SERVER_VALUES),
        (UNKNOWN_CHIP, {"temperature_c hwmon0": 40.0}),
        ({}, {}),
    ],
)
def test_the_sensors_of_a_machine(tree: Tree, files: dict[str, str], values: dict[str, float]) -> None:
    assert read_all(sensors(tree(files))) == pytest.approx(values)


def test_a_sensor_that_goes_takes_no_other_along(tree: Tree) -> None:
    root = tree(ORIN_NANO)
    found = sensors(root)
    (root / HWMON / "curr1_input").unlink()
    assert read_all(found) == {key: value for key, value in ORIN_NANO_VALUES.items() if key != "power_w VDD_IN"}


def test_a_package_gives_the_mean_power_since_the_last_look_and_its_counter_may_begin_anew(tree: Tree) -> None:
    root = tree({"name": "package-0", "energy_uj": "1000000", "max_energy_range_uj": "262143328850"})
    times = iter([0.0, 2.0, 3.0])
    package = Package(root, lambda: next(times))
    assert package.read() == {}
    (root / "energy_uj").write_text("31000000\n")
    assert package.read() == {"power_w package-0 (RAPL)": 15.0}
    (root / "energy_uj").write_text("856150\n")
    assert package.read() == {"power_w package-0 (RAPL)": pytest.approx(262143.328850 - 31 + 0.856150)}


def test_what_only_root_may_read_is_no_sensor(tree: Tree) -> None:
    root = tree({"sys/class/powercap/intel-rapl:0/name": "package-0"})
    (root / "sys/class/powercap/intel-rapl:0/energy_uj").mkdir()  # as unreadable as a file of root's
    assert sensors(root) == []
    files = {"sys/class/powercap/intel-rapl:1/energy_uj": "5", "sys/class/powercap/intel-rapl:1/name": "package-1"}
    assert [sensor.name for sensor in sensors(tree(files))] == ["package-1 (RAPL)"]
