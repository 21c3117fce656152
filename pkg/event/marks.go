package event

import "encoding/binary"

// Where strings end is found for a text as a whole, before it is read: a bit for each byte
// says whether it ends a run of plain ones in a string. A loop over each string by itself
// ends at another place each time, which the processor cannot foresee; and most strings
// are shorter than what it has begun of the next ones by then.

// marksOf notes for every byte of a text whether it is special: a quotation mark, a
// backslash or a control character. Behind the text nothing is, or everything.
func marksOf(to []uint64, text []byte) []uint64 {
	n := len(text) / 64
	if cap(to) <= n {
		to = make([]uint64, n+1, n+1+n/4)
	}
	to = to[:n+1]
	markBlocks(to, text)
	var rest [64]byte
	copy(rest[:], text[n*64:])
	to[n] = marks64(&rest)
	return to
}

// plainBlocks is marks64 of each of the blocks of 64 bytes that fit into text, without
// instructions that not all processors have.
func plainBlocks(to []uint64, text []byte) {
	for i := 0; len(text) >= 64; i++ {
		to[i] = marks64((*[64]byte)(text))
		text = text[64:]
	}
}

// marks64 has a bit for each of 64 bytes that is special, for the first one the lowest.
func marks64(text *[64]byte) (out uint64) {
	const ones, high, low = 0x0101010101010101, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f
	for i := 0; i < 64; i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		// What has a zero byte where w has what is looked for. The sum below sets the high
		// bit of every byte that is not zero, and never reaches into the next one.
		quote, slash, control := w^(ones*'"'), w^(ones*'\\'), w&(ones*0xe0)
		plain := (quote&low + low | quote) & (slash&low + low | slash) & (control&low + low | control)
		// The high bits of eight bytes, put together in the highest byte.
		out |= (^plain & high >> 7) * 0x0102040810204080 >> 56 << i
	}
	return out
}
