package source

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	defaultPoll = 10 * time.Second
	// settleFor is how long changes are collected before the input is examined, and how soon a file that was still
	// growing is examined again.
	settleFor = 500 * time.Millisecond
	growsFor  = time.Second
)

// follow examines the input again and again, until the context ends.
func (s *Input) follow(ctx context.Context) {
	f := s.o.Follow
	changes, watch := s.watch()
	defer watch.close()
	for {
		wait := f.Poll
		if wait <= 0 {
			wait = defaultPoll
		}
		if s.unsettled() {
			wait = min(wait, growsFor)
		}
		if !s.await(ctx, changes, wait) {
			return
		}
		s.again(ctx)
		watch.add(s.folders())
	}
}

// await waits until the input has to be examined; false: the context has ended.
func (s *Input) await(ctx context.Context, changes <-chan struct{}, wait time.Duration) bool {
	if wake := s.o.Follow.Wake; wake != nil {
		select {
		case <-wake:
			return true
		case <-ctx.Done():
			return false
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-changes:
		timer.Reset(settleFor)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// again examines the input once more. Errors are reported, and tried again the next time.
func (s *Input) again(ctx context.Context) {
	s.early.Store(false)
	s.mu.Lock()
	s.earlier, s.unreadable = s.unreadable, nil // what is over by now does not count any more
	s.mu.Unlock()
	s.count(func(st *Stats) { st.Skipped, st.NoFiles, st.Passed = 0, 0, nil })
	parts, _, err := s.list(ctx)
	for _, list := range parts {
		if err == nil {
			err = list(ctx)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil { // else not everything was looked at
		s.earlier = nil
	}
}

// unsettled says whether there are files that were still growing when they were last examined.
func (s *Input) unsettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.growing) > 0 || s.early.Load()
}

// settles says whether a compressed file has the same size as when it was last examined: only then is it read.
func (s *Input) settles(path string, info fs.FileInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, known := s.growing[path]
	if known && was.size == info.Size() && was.at.Equal(info.ModTime()) {
		delete(s.growing, path)
		return true
	}
	if s.growing == nil {
		s.growing = map[string]seenFile{}
	}
	s.growing[path] = seenFile{info.Size(), info.ModTime()}
	return false
}

type seenFile struct {
	size int64
	at   time.Time
}

// Failures are the parts of the input that could not be read, or were refused. Of a followed input, they are those
// of the last look at it.
func (s *Input) Failures() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.unreadable)
	for _, err := range s.earlier {
		if !isAmong(all, err) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// isAmong says whether an error says the same as one of a list.
func isAmong(list []error, err error) bool {
	return slices.ContainsFunc(list, func(e error) bool { return e.Error() == err.Error() })
}

// watcher receives changes in folders, as far as the system reports them.
type watcher struct {
	w       *fsnotify.Watcher // nil: the system does not report changes
	watched map[string]bool
}

// watch starts watching for changes.
func (s *Input) watch() (<-chan struct{}, *watcher) {
	none := &watcher{watched: map[string]bool{}}
	if _, real := s.o.Disk.(OSDisk); !real || s.o.Follow.Wake != nil {
		return nil, none
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, none // the input is examined from time to time anyhow
	}
	changes := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case _, ok := <-w.Events:
				if !ok {
					return
				}
			case _, ok := <-w.Errors:
				if !ok {
					return
				}
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	watch := &watcher{w, map[string]bool{}}
	watch.add(s.folders())
	return changes, watch
}

func (w *watcher) add(folders []string) {
	if w.w == nil {
		return
	}
	for _, dir := range folders {
		if !w.watched[dir] && w.w.Add(dir) == nil {
			w.watched[dir] = true
		}
	}
}

func (w *watcher) close() {
	if w.w != nil {
		_ = w.w.Close() // nobody listens any more
	}
}

// mostFolders bounds how many folders are watched; the others are examined from time to time.
const mostFolders = 4096

// folders lists the folders that contain local input.
func (s *Input) folders() (dirs []string) {
	var walk func(dir string)
	walk = func(dir string) {
		if len(dirs) >= mostFolders {
			return
		}
		dirs = append(dirs, dir)
		entries, err := s.o.Disk.ReadDir(dir)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.IsDir() && !hidden(e.Name()) {
				walk(filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, from := range s.o.From {
		if scheme, err := s.o.Schemes.Of(from); err != nil || scheme.Name != "file" {
			continue
		}
		if info, err := s.o.Disk.Stat(from); err == nil && info.IsDir() {
			walk(from)
		} else {
			dirs = append(dirs, filepath.Dir(from))
		}
	}
	return dirs
}
