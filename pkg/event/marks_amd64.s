#include "textflag.h"

// func marks64AVX2(to *uint64, text *byte, blocks int)
TEXT ·marks64AVX2(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ text+8(FP), SI
	MOVQ blocks+16(FP), CX

	// Y0: quotes, Y1: backslashes, Y2: the last control character, in every byte.
	MOVL $0x22222222, AX
	MOVL $0x5c5c5c5c, BX
	MOVL $0x1f1f1f1f, DX
	VMOVD AX, X0
	VMOVD BX, X1
	VMOVD DX, X2
	VPBROADCASTD X0, Y0
	VPBROADCASTD X1, Y1
	VPBROADCASTD X2, Y2

block:
	VMOVDQU (SI), Y3
	VMOVDQU 32(SI), Y4

	// A byte that is the smaller one of itself and 0x1f is a control character.
	VPMINUB Y2, Y3, Y5
	VPMINUB Y2, Y4, Y6
	VPCMPEQB Y5, Y3, Y5
	VPCMPEQB Y6, Y4, Y6
	VPCMPEQB Y0, Y3, Y7
	VPCMPEQB Y0, Y4, Y8
	VPCMPEQB Y1, Y3, Y3
	VPCMPEQB Y1, Y4, Y4
	VPOR Y7, Y5, Y5
	VPOR Y8, Y6, Y6
	VPOR Y3, Y5, Y5
	VPOR Y4, Y6, Y6
	VPMOVMSKB Y5, AX
	VPMOVMSKB Y6, BX
	SHLQ $32, BX
	ORQ BX, AX
	MOVQ AX, (DI)

	ADDQ $64, SI
	ADDQ $8, DI
	DECQ CX
	JNZ block

	VZEROUPPER
	RET
