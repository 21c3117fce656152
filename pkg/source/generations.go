package source

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The generations of a log are the files that it was rotated into: app.log.1, app.log-20240501.gz, app.1.log,
// app-2024-05-01.log.zst. Those that were read are known by their bytes. Others may have come and gone on between two
// looks at the log, and are read, too.

// isGeneration says whether a file has a name that is given to a generation of a log: the log's, with a number or a
// date behind it or before its extension, and perhaps that of a compression. numbered says that numbers before the
// extension are known to be those of this log's generations: app-2.log may as well be the log of a second process.
func isGeneration(log, name string, numbered bool) bool {
	rest, behind := generationOf(log, name)
	return rest != "" && (behind || numbered || isDated(rest))
}

func isDated(rest string) bool { return len(noDigit.ReplaceAllString(rest, "")) >= leastDate }

// leastDate is how many digits a date has at least: 240501.
const leastDate = 6

// generationOf is what the name of a generation has more than the log's, apart from a compression; "": it is none.
// behind says that it stands behind the name.
func generationOf(log, name string) (rest string, behind bool) {
	for _, packed := range []string{".gz", ".zst", ".bz2", ".xz", ".lz4", ".sz", ".zip"} {
		name = strings.TrimSuffix(name, packed)
	}
	extension := filepath.Ext(log)
	if rest, behind = strings.CutPrefix(name, log); !behind {
		stem := strings.TrimSuffix(log, extension)
		rest = strings.TrimSuffix(strings.TrimPrefix(name, stem), extension)
		if len(rest)+len(log) != len(name) {
			return "", false
		}
	}
	if !generation.MatchString(rest) {
		return "", behind
	}
	return rest, behind
}

var (
	// generation is a number or a date, with time or without, perhaps with a number behind it.
	generation = regexp.MustCompile(`^[-._][0-9][-0-9._:TZ+]*$`)
	noDigit    = regexp.MustCompile(`[^0-9]`)
)

// isNumbered says whether a file of this name that was read has become one with a number before its extension.
func (c *chains) isNumbered(name string) bool {
	dir, base := filepath.Split(name)
	return slices.ContainsFunc(c.all, func(ch *chain) bool {
		at, is := filepath.Split(ch.path)
		rest, behind := generationOf(base, is)
		return ch.last.Name == name && at == dir && rest != "" && !behind && !isDated(rest)
	})
}

// besides are extensions of what programs keep beside a log: how far they have read it, locks, sums.
var besides = map[string]bool{".offset": true, ".pos": true, ".position": true, ".state": true, ".cursor": true,
	".checkpoint": true, ".lock": true, ".lck": true, ".pid": true, ".swp": true, ".swo": true, ".tmp": true,
	".part": true,
	".idx":  true, ".index": true, ".md5": true, ".sha1": true, ".sha256": true}

// between lists the generations of a log that were not read, apart from those that are older than what was: oldest
// first. Just after the log was rotated, these are all files whose names begin with its name and that are newer than
// what was read.
func (c *chains) between(name string) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest, oldest := c.generations(name)
	if newest == nil {
		return nil
	}
	rotated, since := newest.path != name, newest.at
	if newest.path == "" { // it is gone
		if is, err := c.isReplaced(newest); err != nil || !is {
			return nil
		}
		since = newest.last.ModTime
	}
	if !rotated && newest == oldest {
		return nil
	}
	dir, base := filepath.Split(name)
	numbered := c.isNumbered(name)
	entries, err := c.disk.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil // an error of the folder shows when the file is opened
	}
	type found struct {
		path string
		at   time.Time
	}
	var all []found
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() || path == name || marker(e.Name()) || c.claimed[path] != nil {
			continue
		}
		if at := info.ModTime(); isGeneration(base, e.Name(), numbered) && at.After(oldest.last.ModTime) ||
			rotated && strings.HasPrefix(e.Name(), base) && !besides[filepath.Ext(e.Name())] && at.After(since) {
			if !c.wasRead(path, info) {
				all = append(all, found{path, at})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.at.Compare(b.at), -strings.Compare(a.path, b.path)) })
	for _, f := range all {
		names = append(names, f.path)
	}
	return names
}

// generations are the newest and the oldest file of a name, of those that were read.
func (c *chains) generations(name string) (newest, oldest *chain) {
	for _, ch := range c.all {
		if ch.last.Name == name {
			if newest = ch; oldest == nil {
				oldest = ch
			}
		}
	}
	return newest, oldest
}

// wasRead says whether a file has what was read as another one, wherever that is: it is a copy, or it is being
// compressed. The caller holds mu.
func (c *chains) wasRead(path string, info fs.FileInfo) bool {
	seen := seenFile{info.Size(), info.ModTime()}
	if old, known := c.copies[path]; known && old == seen {
		return true
	}
	if !c.isCopy(path) && !c.beginsAsRead(path) {
		return false
	}
	if c.copies == nil || len(c.copies) > mostSiblings {
		c.copies = map[string]seenFile{}
	}
	c.copies[path] = seen
	return true
}

// beginsAsRead says whether a file begins with what was read of another one.
func (c *chains) beginsAsRead(path string) bool {
	head, _, err := c.beginning(path, mostOfBeginning, 0)
	if err != nil {
		return false // reading it will report the error
	}
	for _, ch := range c.all {
		first, _, _ := strings.Cut(ch.last.Head, "/")
		size := int(headSize(ch.last.Head))
		if size == 0 || size > len(head) || printOf(head[:size]) != first {
			continue
		}
		if _, print, err := c.beginning(path, 0, ch.last.Size); err == nil && print == ch.last.Fingerprint {
			return true
		}
	}
	return false
}

// beginning reads the first bytes of a file, decompressed, and the fingerprint of the first size bytes.
func (c *chains) beginning(path string, bytes int, size int64) (head []byte, print string, err error) {
	f, _, err := openFile(c.disk, path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close() // nothing was written
	plain := io.Reader(f)
	if codecAt(f, 0) != "" {
		if plain, _, err = decompress(bufio.NewReaderSize(f, 64<<10)); err != nil {
			return nil, "", err
		}
		if z, ok := plain.(io.Closer); ok {
			defer z.Close()
		}
	}
	if size > 0 {
		print, err = fingerprintOf(plain, size)
		return nil, print, err
	}
	head = make([]byte, bytes)
	n, err := io.ReadFull(plain, head)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], "", err
}
