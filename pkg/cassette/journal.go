package cassette

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Journal is the crash journal of a recording. Each line is a redacted interaction. It is beside
// the cassette until that is written. It is safe for concurrent use.
type Journal struct {
	mu sync.Mutex
	f  *os.File
}

// partial is one line of the crash journal.
type partial struct {
	N           int          `json:"n"`
	Interaction *Interaction `json:"interaction"`
	Details     *Details     `json:"details,omitempty"`
	// JSON cannot hold bodies that are not valid UTF-8, so they are stored as bytes.
	RequestBody  []byte `json:"request_body"`
	ResponseBody []byte `json:"response_body"`
}

// NewJournal creates the crash journal of a recording. The error is an [fs.ErrExist] if there is one already.
func NewJournal(path string) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(partialPath(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is what an interrupted recording left, or another is under way: "+
			"go on from it with --resume, or remove it: %w", partialPath(path), fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	return &Journal{f: f}, nil
}

// Append writes an interaction and its details. n is its number in the order of the requests.
func (j *Journal) Append(n int, i *Interaction, d *Details) error {
	copied := *i
	copied.Request.Body, copied.Response.Body = "", ""
	p := partial{N: n, Interaction: &copied, RequestBody: []byte(i.Request.Body), ResponseBody: []byte(i.Response.Body)}
	if !d.Empty() {
		p.Details = d
	}
	line, err := json.Marshal(p)
	if err == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		_, err = j.f.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", j.f.Name(), err)
	}
	return nil
}

// Close leaves the journal for [Recover].
func (j *Journal) Close() error { return j.f.Close() }

// Remove closes the journal and removes it.
func (j *Journal) Remove() error { return errors.Join(j.f.Close(), os.Remove(j.f.Name())) }

// Recover returns what an interrupted recording left in its crash journal, and removes
// the journal. A last line that the crash cut off is ignored.
func Recover(path string) (*Cassette, error) {
	c := &Cassette{Path: path}
	f, err := os.Open(partialPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []partial
	r := bufio.NewReader(io.LimitReader(f, maxFile))
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // nothing, or an incomplete line
		}
		if err != nil {
			return nil, err
		}
		var p partial
		if err := json.Unmarshal(line, &p); err != nil || p.Interaction == nil {
			return nil, fmt.Errorf("%s is damaged: %w (remove it, and record anew)", partialPath(path), err)
		}
		p.Interaction.Request.Body, p.Interaction.Response.Body = string(p.RequestBody), string(p.ResponseBody)
		lines = append(lines, p)
	}
	slices.SortStableFunc(lines, func(a, b partial) int { return a.N - b.N })
	for n, p := range lines {
		c.Interactions = append(c.Interactions, p.Interaction)
		if p.Details != nil {
			p.Details.Interaction = n
			c.Meta.Details = append(c.Meta.Details, *p.Details)
		}
	}
	return c, os.Remove(partialPath(path))
}
