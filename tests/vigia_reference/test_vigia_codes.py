"""Which patient codes are accepted, and which are the same patient."""

import pytest

from vigia_reference.codes import MAX_CODE_LENGTH, InvalidPatientCode, patient_code, temporary_code

SEEN_IN_USE = ["TEST-001", "STRESS-3-17", "SIM-001", "CD-2025-001", "VG-2025-001", "TEMP-0A1B2C3D"]
NEAR_EQUAL = [
    "KA-1",
    "ka-1",
    " KA-1",
    "KA-1 ",
    "KA-01",
    "\uff2b\uff21-1",
    "\u212aA-1",
    "\u041aA-1",
    "K\u00c1-1",
    "KA\u0301-1",
]


@pytest.mark.parametrize("code", SEEN_IN_USE + NEAR_EQUAL)
def test_a_code_is_kept_exactly_as_it_came(code: str) -> None:
    assert patient_code(code) == code


def test_near_equal_codes_are_different_patients() -> None:
    assert len({patient_code(code) for code in NEAR_EQUAL}) == len(NEAR_EQUAL)


@pytest.mark.parametrize("value", [None, "", " ", "\t\n", 17, ["A"], "A" * 65, "A\ud800"])
def test_what_cannot_be_a_code_is_rejected(value: object) -> None:
    with pytest.raises(InvalidPatientCode):
        patient_code(value)


def test_a_code_may_have_sixty_four_characters() -> None:
    assert patient_code("Ñ" * MAX_CODE_LENGTH)


def test_a_temporary_code_is_eight_upper_case_hex_digits_after_temp() -> None:
    prefix, _, digits = temporary_code().partition("-")
    assert prefix == "TEMP"
    assert len(digits) == 8
    assert set(digits) <= set("0123456789ABCDEF")
