"""The processor says which instructions it has."""

from pathlib import Path

from tests.benchmark.processor import describe, flags


def test_flags_are_whole_words(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some Processor\nflags\t\t: fpu avx512_vnni amx_int8_more\n")
    assert flags(cpuinfo) == ["avx512_vnni"]


def test_flag_that_is_missing_is_named_too() -> None:
    assert describe(["avx512_vnni"]) == "no amx_int8, avx512_vnni"
