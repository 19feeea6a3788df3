#include "textflag.h"

// func get(offset uintptr) uint64
TEXT ·get(SB), NOSPLIT, $0-16
	MOVQ (TLS), AX
	MOVQ offset+0(FP), CX
	MOVQ (AX)(CX*1), AX
	MOVQ AX, ret+8(FP)
	RET

// func GetWithPC() (id uint64, pc uintptr)
//
// The frame is empty, so BP is still the caller's frame pointer, and the word
// above it is the caller's return address.
TEXT ·GetWithPC(SB), NOSPLIT, $0-16
	MOVQ ·offset(SB), CX
	TESTQ CX, CX
	JZ   unknown
	MOVQ (TLS), AX
	MOVQ (AX)(CX*1), AX
	MOVQ AX, id+0(FP)
	MOVQ 8(BP), DX
	MOVQ DX, pc+8(FP)
	RET

unknown:
	MOVQ CX, id+0(FP)
	MOVQ CX, pc+8(FP)
	RET
