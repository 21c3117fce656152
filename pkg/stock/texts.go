package stock

import "unsafe"

// Texts makes strings that live on of texts that do not, many in one piece of memory, which is left to the collector
// when the last of them is. The zero Texts is ready for use. It is not safe for concurrent use.
type Texts struct{ piece []byte }

// sizeOfTexts is the size of a piece, in bytes: what a single string that is kept may keep with it.
const sizeOfTexts = 4 << 10

// Keep returns a text as a string.
func Keep[T string | []byte](t *Texts, text T) string {
	if len(text) == 0 || len(text) > sizeOfTexts/4 {
		return string(text)
	}
	if cap(t.piece)-len(t.piece) < len(text) {
		t.piece = make([]byte, 0, sizeOfTexts)
	}
	at := len(t.piece)
	t.piece = append(t.piece, text...)
	return unsafe.String(&t.piece[at], len(text)) // these bytes are never written again
}
