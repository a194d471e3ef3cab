import pytest

from edgessd.apps.benchmark.records import Machine, Report, Row, Sensors, Stage


def stages(total):
    return {
        "decode": Stage(4.0, 5.0, 6.0),
        "preprocess": Stage(0.1 * total, 0.2 * total, 0.3 * total),
        "run": Stage(0.8 * total, 0.9 * total, total),
        "postprocess": Stage(0.1 * total, 0.1 * total, 0.1 * total),
        "total": Stage(total, 1.2 * total, 1.5 * total),
    }


def measured(model="a.onnx", runtime="onnx", threads=1, total=10.0, accuracy=None, **values):
    return Row(
        model=model,
        precision="int8",
        runtime=runtime,
        threads=threads,
        stages=stages(total),
        rate=1e3 / total,
        runs=20,
        first=3 * total,
        load=50.0,
        memory=100.0,
        memory_model=30.0,
        size=5.0,
        accuracy={} if accuracy is None else {"AP": accuracy},
        after=Sensors(61.5, 2400),
        **values,
    )


def report_of(*rows):
    machine = Machine(processor="Cortex-A72", cores=4, architecture="aarch64", system="Debian", flags=["asimd"])
    return Report(date="2026-01-01 00:00 UTC", machines=[machine], rows=list(rows))


@pytest.fixture
def make_row():
    return measured


@pytest.fixture
def make_report():
    return report_of


@pytest.fixture
def report():
    return report_of(
        measured(accuracy=30.0),
        measured(runtime="openvino", total=14.0, accuracy=31.0, notes=["noisy: the 90th percentile is 3.0 times"]),
        Row(model="a.onnx", runtime="onnx:cuda", status="absent", reason="not present: no provider 'cuda'"),
        Row(model="b.tflite", runtime="litert", threads=1, status="failed", reason="crashed: SIGSEGV"),
    )
