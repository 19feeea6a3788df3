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

// func Frames(into *uintptr, n int) int
//
// BP is the caller's frame pointer. A frame begins with that of the frame before it,
// which lies above it; the word after that is the address that the frame returns to.
// The first word past the stack is the second of the goroutine's descriptor.
TEXT ·Frames(SB), NOSPLIT, $0-24
	MOVQ into+0(FP), DI
	MOVQ n+8(FP), CX
	XORQ AX, AX
	CMPQ ·offset(SB), $0
	JEQ  done
	MOVQ (TLS), DX
	MOVQ 8(DX), DX
	SUBQ $16, DX
	MOVQ BP, SI

next:
	CMPQ AX, CX
	JGE  done
	CMPQ SI, DX
	JHI  done
	MOVQ 8(SI), R8
	TESTQ R8, R8
	JZ   done
	MOVQ R8, (DI)(AX*8)
	INCQ AX
	MOVQ (SI), R8
	CMPQ R8, SI
	JLS  done
	MOVQ R8, SI
	JMP  next

done:
	MOVQ AX, ret+16(FP)
	RET
