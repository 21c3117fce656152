package source

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	defaultPoll = 10 * time.Second
	// settleFor is how long changes are collected before the input is looked at, and after how
	// long a file that was still growing is looked at again.
	settleFor = 500 * time.Millisecond
	growsFor  = time.Second
)

// follow looks at the input again and again, until the context ends.
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

// await waits until the input is to be looked at; false: never again.
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

// again looks at the input once more. What fails is told, and looked at the next time.
func (s *Input) again(ctx context.Context) {
	s.early.Store(false)
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
}

// unsettled says that there are files that were still growing when they were looked at.
func (s *Input) unsettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.growing) > 0 || s.early.Load()
}

// settles says of a compressed file whether it is as large as it was when it was looked at
// before: only then it is read.
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

// Failures are what of the input could not be read, or was refused, so far.
func (s *Input) Failures() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.unreadable...)
}

// watcher is told of changes in folders, as far as the system tells.
type watcher struct {
	w       *fsnotify.Watcher // nil: it does not
	watched map[string]bool
}

// watch begins to be told of changes.
func (s *Input) watch() (<-chan struct{}, *watcher) {
	none := &watcher{watched: map[string]bool{}}
	if _, real := s.o.Disk.(OSDisk); !real || s.o.Follow.Wake != nil {
		return nil, none
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, none // the input is looked at from time to time anyhow
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

// mostFolders bounds how many folders are watched; the others are looked at from time to time.
const mostFolders = 4096

// folders are those in which local input lies.
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
