//go:build !amd64

package event

// markBlocks is marks64 of each of the blocks of 64 bytes that fit into text.
func markBlocks(to []uint64, text []byte) { plainBlocks(to, text) }
