#include "textflag.h"
#include "go_asm.h"

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

// The stores of an Owner. Stores of one core become visible to the others in their
// order, and an aligned quadword is written whole (Intel SDM vol. 3A, 9.1.1 and 9.2.2).

// func Take(o *Owner) (id uint64, pc uintptr)
//
// The id and the place are found as in GetWithPC.
TEXT ·Take(SB), NOSPLIT, $0-24
	MOVQ o+0(FP), DI
	MOVQ ·offset(SB), CX
	XORQ AX, AX
	XORQ DX, DX
	TESTQ CX, CX
	JZ   known
	MOVQ (TLS), AX
	MOVQ (AX)(CX*1), AX
	MOVQ 8(BP), DX

known:
	MOVQ Owner_word(DI), BX
	INCQ BX
	ANDQ $const_generationMask, BX
	MOVQ AX, CX
	SHLQ $const_generationBits, CX
	ORQ  CX, BX
	MOVQ DX, Owner_place(DI)
	MOVQ BX, Owner_word(DI)
	MOVQ AX, id+8(FP)
	MOVQ DX, pc+16(FP)
	RET

// func TakeFor(o *Owner, id uint64, pc uintptr)
TEXT ·TakeFor(SB), NOSPLIT, $0-24
	MOVQ o+0(FP), DI
	MOVQ id+8(FP), AX
	MOVQ pc+16(FP), DX
	MOVQ Owner_word(DI), BX
	INCQ BX
	ANDQ $const_generationMask, BX
	SHLQ $const_generationBits, AX
	ORQ  AX, BX
	MOVQ DX, Owner_place(DI)
	MOVQ BX, Owner_word(DI)
	RET

// func Leave(o *Owner) (owner, id uint64)
TEXT ·Leave(SB), NOSPLIT, $0-24
	MOVQ o+0(FP), DI
	MOVQ ·offset(SB), CX
	XORQ AX, AX
	TESTQ CX, CX
	JZ   known
	MOVQ (TLS), AX
	MOVQ (AX)(CX*1), AX

known:
	MOVQ Owner_word(DI), BX
	MOVQ BX, CX
	ANDQ $const_generationMask, CX
	MOVQ CX, Owner_word(DI)
	SHRQ $const_generationBits, BX
	MOVQ BX, owner+8(FP)
	MOVQ AX, id+16(FP)
	RET
