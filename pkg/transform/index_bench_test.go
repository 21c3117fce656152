package transform

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/fanfold/fanfold/pkg/source"
)

// BenchmarkRepeats asks for the first position of keys, a quarter of which were
// seen before, in an index that holds a million at the start, as a run does: one
// after the other, and durable every 20,000. The index is our own file; what the
// same costs in SQLite, which is linked for the journal, is beside it.
//
// One after the other on two cores that others used as well (go test -run xxx
// -bench Repeats -benchtime 400000x ./pkg/transform; 2026-11-28), for each event:
//
//	index    12.8 us
//	sqlite  146.4 us
//
// So the file stays: with SQLite, dropping repeats would cost ten times what
// the rest of an event does.
func BenchmarkRepeats(b *testing.B) {
	const held, every = 1_000_000, 20_000
	for _, kind := range []string{"index", "sqlite"} {
		b.Run(kind, func(b *testing.B) {
			first, sync := openRepeats(b, kind)
			ask := func(n int) {
				var text [8]byte
				binary.LittleEndian.PutUint64(text[:], uint64(n))
				if err := first(sha256.Sum256(text[:]), source.Position{Offset: int64(n)}); err != nil {
					b.Fatal(err)
				}
			}
			for n := range held {
				ask(n)
				if n%every == every-1 {
					if err := sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ResetTimer()
			for n := range b.N {
				if n%4 == 0 {
					ask(n)
				} else {
					ask(held + n)
				}
				if n%every == every-1 {
					if err := sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// openRepeats returns how one kind of index notes a key, and makes what it noted
// durable.
func openRepeats(b *testing.B, kind string) (first func([32]byte, source.Position) error, sync func() error) {
	b.Helper()
	name := filepath.Join(b.TempDir(), kind)
	if kind == "index" {
		x, err := openIndex(name, false)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = x.close() })
		return func(key [32]byte, at source.Position) error { _, err := x.first(key, at); return err }, x.sync
	}
	db, err := sql.Open("sqlite", "file:"+name+
		"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=cache_size(-65536)")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec("CREATE TABLE seen (key BLOB PRIMARY KEY, at BLOB) WITHOUT ROWID"); err != nil {
		b.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	prepare := func() *sql.Stmt {
		s, err := tx.Prepare("INSERT INTO seen VALUES (?, ?) " +
			"ON CONFLICT DO UPDATE SET at = min(at, excluded.at) RETURNING at")
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	ask := prepare()
	first = func(key [32]byte, at source.Position) error {
		known := fmt.Appendf(nil, "%08x%016x%08x", at.Object, at.Offset, at.Element)
		return ask.QueryRow(key[:16], known).Scan(&known)
	}
	return first, func() error {
		if err := tx.Commit(); err != nil {
			return err
		}
		if tx, err = db.Begin(); err != nil {
			return err
		}
		ask = prepare()
		return nil
	}
}
