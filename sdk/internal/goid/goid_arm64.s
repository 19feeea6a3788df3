#include "textflag.h"
#include "go_asm.h"

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

// func Frames(into *uintptr, n int) int
//
// R29 is the caller's frame pointer. It points to that of the frame before, which lies
// above it; the word after that is the address that the frame returns to. The first
// word past the stack is the second of the goroutine's descriptor.
TEXT ·Frames(SB), NOSPLIT, $0-24
	MOVD into+0(FP), R0
	MOVD n+8(FP), R1
	MOVD ZR, R2
	MOVD ·offset(SB), R3
	CBZ  R3, done
	MOVD 8(g), R4
	SUB  $16, R4
	MOVD R29, R5

next:
	CMP  R1, R2
	BGE  done
	CMP  R4, R5
	BHI  done
	MOVD 8(R5), R6
	CBZ  R6, done
	MOVD R6, (R0)(R2<<3)
	ADD  $1, R2
	MOVD (R5), R6
	CMP  R5, R6
	BLS  done
	MOVD R6, R5
	B    next

done:
	MOVD R2, ret+16(FP)
	RET

// The stores of an Owner. STLR orders all earlier loads and stores of the core before
// it, and an aligned doubleword is written whole (Arm ARM, B2.2 and B2.3).

// func Take(o *Owner) (id uint64, pc uintptr)
//
// The id and the place are found as in GetWithPC.
TEXT ·Take(SB), NOSPLIT, $0-24
	MOVD o+0(FP), R0
	MOVD ZR, R1
	MOVD ZR, R2
	MOVD ·offset(SB), R3
	CBZ  R3, known
	MOVD (g)(R3), R1
	MOVD 8(R29), R2

known:
	ADD  $Owner_place, R0, R4
	ADD  $Owner_word, R0, R5
	MOVD (R5), R6
	ADD  $1, R6
	AND  $const_generationMask, R6
	ORR  R1<<const_generationBits, R6
	STLR R2, (R4)
	STLR R6, (R5)
	MOVD R1, id+8(FP)
	MOVD R2, pc+16(FP)
	RET

// func TakeFor(o *Owner, id uint64, pc uintptr)
TEXT ·TakeFor(SB), NOSPLIT, $0-24
	MOVD o+0(FP), R0
	MOVD id+8(FP), R1
	MOVD pc+16(FP), R2
	ADD  $Owner_place, R0, R4
	ADD  $Owner_word, R0, R5
	MOVD (R5), R6
	ADD  $1, R6
	AND  $const_generationMask, R6
	ORR  R1<<const_generationBits, R6
	STLR R2, (R4)
	STLR R6, (R5)
	RET

// func Leave(o *Owner) (owner, id uint64)
TEXT ·Leave(SB), NOSPLIT, $0-24
	MOVD o+0(FP), R0
	MOVD ZR, R1
	MOVD ·offset(SB), R3
	CBZ  R3, known
	MOVD (g)(R3), R1

known:
	ADD  $Owner_word, R0, R5
	MOVD (R5), R6
	AND  $const_generationMask, R6, R7
	STLR R7, (R5)
	LSR  $const_generationBits, R6
	MOVD R6, owner+8(FP)
	MOVD R1, id+16(FP)
	RET
