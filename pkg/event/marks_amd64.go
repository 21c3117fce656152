package event

import "golang.org/x/sys/cpu"

// marks64AVX2 is marks64 of at least one block, with the processor's instructions for 32
// bytes at a time.
//
//go:noescape
func marks64AVX2(to *uint64, text *byte, blocks int)

// markBlocks is marks64 of each of the blocks of 64 bytes that fit into text.
func markBlocks(to []uint64, text []byte) {
	n := len(text) / 64
	if n > 0 && cpu.X86.HasAVX2 {
		marks64AVX2(&to[:n][0], &text[0], n)
		return
	}
	plainBlocks(to, text)
}
