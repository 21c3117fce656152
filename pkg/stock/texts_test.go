package stock_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/stock"
)

// TestTexts: strings keep their text whatever becomes of the bytes that they were made of, and of others, and many
// are made with few pieces of memory.
func TestTexts(t *testing.T) {
	var texts stock.Texts
	var kept, want []string
	var buf []byte
	for i := range 3000 {
		buf = fmt.Appendf(buf[:0], "%d%s", i, strings.Repeat("x", i%1500*(i%7/6)))
		kept, want = append(kept, stock.Keep(&texts, buf)), append(want, string(buf))
		clear(buf)
	}
	for i := range kept {
		if kept[i] != want[i] {
			t.Fatalf("the text %q has become %q", want[i], kept[i])
		}
	}
	text := []byte("a text of thirty-one characters")
	if n := testing.AllocsPerRun(100, func() {
		for range 100 {
			stock.Keep(&texts, text)
		}
	}); n > 2 {
		t.Errorf("100 short texts take %v pieces of memory, want one or two", n)
	}
	if stock.Keep(&texts, "") != "" {
		t.Error("of an empty text came another")
	}
}
