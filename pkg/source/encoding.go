package source

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// decoderOf returns the decoder to UTF-8 for an encoding that --encoding names; nil: it is UTF-8 already.
func decoderOf(name string) (encoding.Encoding, error) {
	switch name {
	case "", "utf-8", "utf8":
		return nil, nil
	case "latin1", "iso-8859-1", "windows-1252", "cp1252":
		// Text that is called Latin-1 is usually Windows-1252, which has the euro sign and curly quotes where
		// Latin-1 has control characters.
		return charmap.Windows1252, nil
	}
	return nil, inputf("--encoding has to be utf-8 or latin1, not %q; UTF-16 is recognised by its first bytes", name)
}

// inUTF8 converts a stream to UTF-8 from the encoding that the options name.
func inUTF8(src io.Reader, encoding string) io.Reader {
	if enc, err := decoderOf(encoding); err == nil && enc != nil {
		return transform.NewReader(src, enc.NewDecoder())
	}
	return src
}

// checkEncoding refuses a table that is not UTF-8 if no encoding was given: otherwise letters would be lost in
// every row.
func (r *reading) checkEncoding(head []byte) error {
	if r.choose.encoding != "" || utf8.Valid(head) {
		return nil
	}
	line := 1
	for text := range bytes.Lines(head) {
		if !utf8.Valid(text) && len(text) > 0 && text[len(text)-1] == '\n' {
			for i := 0; i < len(text); {
				c, size := utf8.DecodeRune(text[i:])
				if c == utf8.RuneError && size < 2 {
					return inputf("%s is not UTF-8 (%s): --encoding latin1 reads it as Latin-1 (Windows-1252), "+
						"--encoding utf-8 leaves out the rows that are not UTF-8", r.name,
						fmt.Sprintf("line %d, byte %d of it is 0x%02x", line, i+1, text[i]))
				}
				i += size
			}
		}
		line++
	}
	return nil
}
