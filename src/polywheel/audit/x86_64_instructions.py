"""The instructions of x86-64, as the library iced decodes them: their extensions, and what they refer to."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from polywheel.errors import ConfigError

if TYPE_CHECKING:
    from iced_x86 import Instruction

_BASELINE = {
    # x86-64-v1: x86-64 psABI, "Micro-Architecture Levels"
    *("INTEL8086", "INTEL186", "INTEL286", "INTEL386", "INTEL486", "IA64", "X64", "CPUID", "TSC"),
    *("FPU", "FPU287", "FPU387", "MMX", "SSE", "SSE2", "CMOV", "CX8", "FXSR", "SYSCALL", "SEP"),
    *("MSR", "MULTIBYTENOP", "PAUSE", "CLFSH", "RDPMC"),
    # Hints, which older processors ignore.
    *("CET_IBT", "CET_SS", "PREFETCHW", "PREFETCHWT1", "PREFETCHITI", "CLDEMOTE", "HLE", "MPX"),
}
"""Names of iced for what every processor executes."""
_NAMES = {
    "AVX_VNNI": "AVX-VNNI",
    "D3NOW": "3DNow!",
    "D3NOWEXT": "3DNow!",
    "HLE_OR_RTM": "RTM",
    "SSE4_1": "SSE4.1",
    "SSE4_2": "SSE4.2",
}
"""The usual names, where those of iced are others."""
_DATA = {
    *("INTEL8086_ONLY", "INTEL286_ONLY", "INTEL386_ONLY", "INTEL386_A0_ONLY", "INTEL486_A_ONLY"),
    *("UMOV", "OSS", "CYRIX_D3NOW", "CYRIX_FPU", "CYRIX_SMM", "CYRIX_SMINT", "CYRIX_SMINT_0F7E"),
    *("CYRIX_SHR", "CYRIX_DDI", "CYRIX_EMMI", "CYRIX_DMI", "CENTAUR_AIS", "SMM", "KNC", "TDX"),
    *("FPU287XL_ONLY", "FPU387SL_ONLY", "MOV_TR", "PCOMMIT", "UDBG", "VMX", "SVM", "SEV_ES"),
    *("SEV_SNP", "SKINIT", "SKINIT_OR_SVM", "SMX", "INVEPT", "INVVPID", "INVPCID", "SGX1", "SMAP"),
    *("PCONFIG", "MCOMMIT", "INVLPGB", "CL1INVMB", "FRED", "LKGS", "RMPQUERY", "MSRLIST", "TSE"),
    *("WRMSRNS", "WBNOINVD", "HRESET", "PADLOCK_UNDOC", "MONITOR", "LWP"),
}
"""Names of iced for what programs do not contain: where it occurs, the bytes are data."""
_RARE = (
    *("IN_", "OUT_", "INSB", "INSW", "INSD", "OUTS", "HLT", "CLI", "STI", "IRET", "RETF", "INT1"),
    *("ENTER", "XLAT", "LOOP", "CALLF", "JMPF", "CALL_M", "JMP_M16", "LDS", "LES", "ARPL", "LFS"),
)
"""As ``_DATA``, the beginnings of names of instructions."""

PLAIN, JUMP, CALL, MEMORY, EXTENSION, ASKS_CPU, NONSENSE, UNKNOWN = range(8)
"""Kinds of instructions. All but those of the first three may refer to memory."""


class Iced:
    """The library iced, and the kinds of the instructions that it has decoded."""

    def __init__(self) -> None:
        try:
            import iced_x86
        except ModuleNotFoundError:
            raise ConfigError(
                "the audit of code for x86-64 needs the package iced-x86",
                hint="pip install 'polywheel[audit]'; on other processors than x86-64, "
                "pip install iced-x86, which needs Rust",
            ) from None
        self.decoder = iced_x86.Decoder
        self.flows = iced_x86.FlowControl
        self.size = iced_x86.MemorySizeInfo
        self._op_code_info = iced_x86.OpCodeInfo
        self._formatter = iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL)
        self._names = _names_by_number(iced_x86.Code)
        self._features = _names_by_number(iced_x86.CpuidFeature)
        operands = _names_by_number(iced_x86.OpCodeOperandKind)
        self._memory = {number for number, name in operands.items() if "MEM" in name}
        registers = iced_x86.Register
        self._results = {registers.AL, registers.AX, registers.EAX, registers.RAX}
        flows = iced_x86.FlowControl
        self.calls = {flows.CALL, flows.INDIRECT_CALL}
        self.leaving = {
            *(flows.UNCONDITIONAL_BRANCH, flows.INDIRECT_BRANCH, flows.RETURN, flows.EXCEPTION)
        }
        self.kinds = bytearray([UNKNOWN]) * (max(self._names) + 1)
        self.extensions: dict[int, tuple[str, ...]] = {}
        """By the number of an instruction."""

    def classify(self, instruction: Instruction) -> int:
        """Return the kind of an instruction, and remember it and its extensions."""
        kind = self._kind(instruction)
        self.kinds[instruction.code] = kind
        return kind

    def _kind(self, instruction: Instruction) -> int:
        code, flow = instruction.code, instruction.flow_control
        name = self._names[code]
        features = {self._features[number] for number in instruction.cpuid_features()}
        if name in {"CPUID", "XGETBV"}:
            return ASKS_CPU
        if (
            instruction.is_invalid
            or instruction.is_privileged
            or features & _DATA
            or name.startswith(_RARE)
        ):
            return NONSENSE
        beyond = sorted({_NAMES.get(feature, feature) for feature in features - _BASELINE})
        # Compilers emit TZCNT for BSF: older processors ignore its prefix, and the result is the same.
        if beyond and not name.startswith("TZCNT"):
            self.extensions[code] = tuple(beyond)
            return EXTENSION
        flows = self.flows
        if flow in {flows.UNCONDITIONAL_BRANCH, flows.CONDITIONAL_BRANCH, flows.CALL}:
            return CALL if flow == flows.CALL else JUMP
        refers = self._memory.intersection(self._op_code_info(code).op_kinds())
        return MEMORY if refers else PLAIN

    def kind_of(self, instruction: Instruction) -> int:
        kind = self.kinds[instruction.code]
        return self.classify(instruction) if kind == UNKNOWN else kind

    def is_store_of_result(self, instruction: Instruction) -> bool:
        """Whether an instruction writes the result of a call, or a condition, to memory."""
        name = self._names[instruction.code]
        return name.startswith("SET") or (
            name.startswith("MOV_RM") and instruction.op1_register in self._results
        )

    def text(self, instruction: Instruction) -> str:
        return str(self._formatter.format(instruction))


def _names_by_number(constants: object) -> dict[int, str]:
    return {number: name for name, number in vars(constants).items() if isinstance(number, int)}


@cache
def load_iced() -> Iced:
    return Iced()
