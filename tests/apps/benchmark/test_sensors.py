from edgessd.apps.benchmark.machine import describe_machine, in_words
from edgessd.apps.benchmark.sensors import read_sensors


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sensors_of_a_board(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    write(tmp_path, "class/thermal/thermal_zone0/temp", "61322\n")
    write(tmp_path, "class/thermal/thermal_zone1/temp", "-273000\n")
    write(tmp_path, "class/hwmon/hwmon0/temp1_input", "nonsense")
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1800000")
    write(tmp_path, "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "600000")
    write(tmp_path, "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3")
    sensors = read_sensors(tmp_path, tmp_path)
    assert (sensors.temperature, sensors.clock, sensors.throttled) == (61.3, 1200, 3)


def test_a_machine_that_tells_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    sensors = read_sensors(tmp_path, tmp_path)
    assert (sensors.temperature, sensors.clock, sensors.throttled) == (None, None, None)


def test_a_raspberry_pi_says_that_it_was_throttled(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "vcgencmd"
    write(tmp_path, "bin/vcgencmd", "#!/bin/sh\necho throttled=0x50005\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    assert read_sensors(tmp_path, tmp_path).throttled == 4


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine.cores >= 1
    assert machine.versions["edgessd"]
    words = in_words(machine)
    assert machine.architecture in words
    assert "onnxruntime" in words
