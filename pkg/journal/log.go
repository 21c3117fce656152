package journal

import (
	"context"
	"errors"
	"iter"
)

// Log stores a run's commits. Their content is the business of [Run]; a log stores a commit completely or not at
// all, in order. It is never called concurrently.
type Log interface {
	// Load returns what was committed, from the last snapshot on. It is called once, before anything is appended.
	// The error is a *DamagedError if something that was stored durably is missing.
	Load(ctx context.Context) (*Commits, error)
	// Append adds a commit. It returns once the commit would survive a kill of the process, and with Commit.Sync
	// also a power cut, together with the dead letters that were appended before. The error is [ErrFenced] if
	// another owner has written since Load: then nothing was added.
	Append(ctx context.Context, c Commit) error
	// AppendDead writes a frame of dead letters at an offset of a file, and discards whatever followed that
	// offset, so that it can safely be called twice. An empty frame ends the file at the offset.
	AppendDead(ctx context.Context, file LetterFile, at int64, frame []byte) error
	// Close releases what the log holds open.
	Close() error
}

// ErrFenced says that another owner has written to a log since it was loaded.
var ErrFenced = errors.New("another process has taken over this run")

// Commit is what becomes durable together.
type Commit struct {
	Seq      int64    // its number, one more than that of the previous commit
	Data     []byte   // checksum, version and records; never empty
	Snapshot bool     // Data replaces all earlier commits, whose data may be deleted
	Sync     bool     // see Log.Append
	From     int      // index of the first of Objects
	Objects  [][]byte // the manifest's next rows
	Drop     []int    // rows of the manifest to delete, all before Before
	Before   int
	Values   map[string][]byte // small values by name, each replacing an earlier one
}

// Commits is what Log.Load returns. Each sequence may be read once, one after the other, before any other method
// of the log is called.
type Commits struct {
	Values map[string][]byte
	// Manifest are its rows; nil is a row that was deleted.
	Manifest iter.Seq2[[]byte, error]
	Log      iter.Seq2[Row, error]
	// Dead are the lengths in bytes of the existing files of dead letters. They may be longer than the last commit
	// says, if they were being written when a process ended.
	Dead map[LetterFile]int64
}

// Row is the data of one commit.
type Row struct {
	Seq  int64
	Data []byte
}
