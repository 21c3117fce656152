package cmd

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/fanfold/fanfold/pkg/eventgen"
)

// generateCommand writes the sample archives and the input of benchmarks.
func (a *app) generateCommand() *cobra.Command {
	var o eventgen.Options
	var to string
	var cut int
	c := &cobra.Command{
		Use: "generate --to FILE", Args: cobra.NoArgs,
		Short: "Write a stream of made-up events, the same for the same seed",
		RunE: func(c *cobra.Command, _ []string) error {
			out := under(a.out) // data
			if to != "-" {
				f, err := os.Create(to)
				if err != nil {
					return err
				}
				defer f.Close()
				out = f
			}
			var w io.WriteCloser
			switch {
			case strings.HasSuffix(to, ".zst"):
				z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
				if err != nil {
					return err
				}
				w = z
			case strings.HasSuffix(to, ".gz"):
				w = gzip.NewWriter(out)
			default:
				b := bufio.NewWriterSize(out, 1<<20)
				w = struct {
					io.Writer
					io.Closer
				}{b, closer(b.Flush)}
			}
			if err := eventgen.Write(w, o); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			if f, ok := out.(*os.File); ok && cut > 0 {
				info, err := f.Stat()
				if err != nil {
					return err
				}
				return f.Truncate(info.Size() - int64(cut))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&to, "to", "-", "file to write; .zst and .gz are compressed")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the stream")
	f.IntVar(&o.Events, "events", 3000, "number of events")
	f.IntVar(&o.Variety, "variety", 0, "number of event names, each with properties of its own, optional and nested ones; without a number "+strconv.Itoa(eventgen.DefaultVariety)+", 0: a uniform stream")
	f.Lookup("variety").NoOptDefVal = strconv.Itoa(eventgen.DefaultVariety)
	f.BoolVar(&o.Messy, "messy", false, "add what real archives also hold")
	f.IntVar(&o.LongLine, "long-line", 0, "bytes of the over-long line of a messy stream")
	f.IntVar(&cut, "cut", 0, "bytes to cut off the end of the file")
	return c
}

type closer func() error

func (c closer) Close() error { return c() }

// sinkCommand is a server that takes everything and counts, for benchmarks.
func (a *app) sinkCommand() *cobra.Command {
	var addr, needle string
	c := &cobra.Command{
		Use: "sink", Args: cobra.NoArgs, Annotations: inOrder(),
		Short: "Run a local server that takes every request and counts events, for benchmarks",
		Long: `sink answers every request as a partner does that takes everything. It says in one
JSON line where it listens, and counts requests, the bytes of their bodies as they are
when they are not compressed, and the events in them (--count). GET /stats answers the counts so
far as JSON. Ctrl-C or SIGTERM ends it: the counts are its last line.`,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			var requests, length, events atomic.Int64
			counts := func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "{\"requests\":%d,\"events\":%d,\"bytes\":%d}\n", requests.Load(), events.Load(), length.Load())
				return err
			}
			fmt.Fprintf(a.out, "{\"ready\":true,\"url\":\"http://%s\"}\n", l.Addr())
			s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Method == http.MethodGet && r.URL.Path == "/stats" {
					_ = counts(w) // who asked is gone
					return
				}
				body := io.Reader(r.Body)
				if r.Header.Get("Content-Encoding") == "gzip" {
					if z, err := gzip.NewReader(body); err == nil {
						body = z
					}
				}
				n, hits := drain(body, needle)
				requests.Add(1)
				length.Add(n)
				events.Add(hits)
				if strings.HasSuffix(r.URL.Path, "/import") {
					fmt.Fprintf(w, `{"code":200,"num_records_imported":%d,"status":"OK"}`, hits)
				} else {
					_, _ = io.WriteString(w, `{"error":null,"status":1}`)
				}
			})}
			go func() {
				select {
				case <-a.interrupts.taken():
				case <-c.Context().Done():
				}
				s.Close()
			}()
			if err := s.Serve(l); err != http.ErrServerClosed {
				return err
			}
			return counts(a.out)
		},
	}
	c.Flags().StringVar(&addr, "listen", "127.0.0.1:0", "address")
	c.Flags().StringVar(&needle, "count", `"event":"`, "text that stands once in every event; empty: count nothing")
	return c
}

var drains = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// drain reads a body and counts a text in it.
func drain(r io.Reader, needle string) (n, hits int64) {
	p := drains.Get().(*[64 << 10]byte)
	defer drains.Put(p)
	buf := p[:]
	keep := 0
	for {
		k, err := r.Read(buf[keep:])
		n += int64(k)
		if needle != "" {
			text := buf[:keep+k]
			hits += int64(bytes.Count(text, []byte(needle)))
			// What may be the beginning of one more stays for the next read.
			tail := max(0, len(text)-len(needle)+1)
			keep = copy(buf, text[tail:])
		}
		if err != nil {
			return n, hits
		}
	}
}
