package replay

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fanfold/fanfold/pkg/cassette"
	"github.com/fanfold/fanfold/pkg/cassette/match"
	"github.com/fanfold/fanfold/pkg/cassette/sample"
)

// BenchmarkLookup takes the same time for 100 and for 10,000 interactions. raw is a
// request that is equal byte for byte, canonical one with another message id.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		list := sample.Events(n)
		for _, way := range []string{"raw", "canonical"} {
			b.Run(fmt.Sprintf("%s/%d", way, n), func(b *testing.B) {
				p := replayerOf(b, list, Options{Redactor: sample.Redactor("k")})
				qs := make([]match.Request, n)
				for k, i := range list {
					qs[k] = match.Recorded(i)
					if way == "canonical" {
						qs[k].Body = strings.Replace(qs[k].Body, `"messageId":"m-`, `"messageId":"n-`, 1)
					}
				}
				k := 0
				for b.Loop() {
					if k == n {
						b.StopTimer()
						p.Reset("")
						k = 0
						b.StartTimer()
					}
					if _, err := p.Answer("", qs[k]); err != nil {
						b.Fatal(err)
					}
					k++
				}
			})
		}
	}
}

// BenchmarkMiss measures the report of a miss with 10,000 interactions of one address.
func BenchmarkMiss(b *testing.B) {
	p := replayerOf(b, sample.Events(10000), Options{})
	q := match.Recorded(sample.Events(10000)[4242])
	q.Body = strings.Replace(q.Body, `"total":4242`, `"total":1`, 1)
	for b.Loop() {
		if _, err := p.Answer("", q); err == nil {
			b.Fatal("it matched")
		}
	}
}

// BenchmarkLoad reads and indexes 10,000 interactions.
func BenchmarkLoad(b *testing.B) {
	c := &cassette.Cassette{Path: filepath.Join(b.TempDir(), "c.yaml"), Interactions: sample.Events(10000)}
	if err := c.Save(sample.Redactor("")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		back, err := cassette.Load(c.Path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := New([]*cassette.Cassette{back}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
