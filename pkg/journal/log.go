package journal

import (
	"context"
	"errors"
	"iter"
)

// Log is where a run's commits are kept. What a commit says is the business of [Run];
// a log stores it whole or not at all, in order. It is called by one goroutine at a time.
type Log interface {
	// Load returns what was committed, from the last snapshot on. It is called once,
	// before anything is appended. The error is a *DamagedError when the log does not
	// hold what it has promised to hold.
	Load(ctx context.Context) (*Commits, error)
	// Append adds a commit, and returns when a process that is killed would leave it
	// behind; with Commit.Sync when a power cut would, too, with the dead letters that
	// were appended before. The error is [ErrFenced] when another owner has written
	// since Load: then nothing was added.
	Append(ctx context.Context, c Commit) error
	// AppendDead puts a frame of dead letters at an offset of a file of them. What was
	// there from that offset on is gone, so that calling it twice is calling it once. An
	// empty frame ends the letters at the offset.
	AppendDead(ctx context.Context, file LetterFile, at int64, frame []byte) error
	// Close gives back what the log holds open.
	Close() error
}

// ErrFenced says that another owner has written to a log since it was loaded.
var ErrFenced = errors.New("another process has taken over this run")

// Commit is what becomes durable at once.
type Commit struct {
	Seq      int64    // its number, one more than that of the commit before
	Data     []byte   // checksum, version and records; never empty
	Snapshot bool     // Data stands for all earlier commits, whose data may go
	Sync     bool     // see Log.Append
	From     int      // number of the first of Objects
	Objects  [][]byte // the manifest's next rows
	Drop     []int    // rows of the manifest that go, all before Before
	Before   int
	Values   map[string][]byte // small values, each in the place of an earlier one of its name
}

// Commits is what Log.Load returns. The sequences may be read once, one after the other,
// and before anything else is asked of the log.
type Commits struct {
	Values map[string][]byte
	// Manifest are its rows; nil stands for one that was dropped.
	Manifest iter.Seq2[[]byte, error]
	Log      iter.Seq2[Row, error]
	// Dead is how long the files of dead letters are that there are, in bytes. It may be more than
	// the last commit says: those were being written when a process ended.
	Dead map[LetterFile]int64
}

// Row is the data of one commit.
type Row struct {
	Seq  int64
	Data []byte
}
