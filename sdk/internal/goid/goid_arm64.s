#include "textflag.h"

// func get(offset uintptr) uint64
TEXT ·get(SB), NOSPLIT, $0-16
	MOVD offset+0(FP), R1
	MOVD (g)(R1), R0
	MOVD R0, ret+8(FP)
	RET

// func GetWithPC() (id uint64, pc uintptr)
//
// R29 is the caller's frame pointer, and the word above the one it points to is
// the caller's return address.
TEXT ·GetWithPC(SB), NOSPLIT, $0-16
	MOVD ·offset(SB), R1
	CBZ  R1, unknown
	MOVD (g)(R1), R0
	MOVD R0, id+0(FP)
	MOVD 8(R29), R2
	MOVD R2, pc+8(FP)
	RET

unknown:
	MOVD ZR, id+0(FP)
	MOVD ZR, pc+8(FP)
	RET
