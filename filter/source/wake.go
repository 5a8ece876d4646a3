package source

import (
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A wake wakes whoever waits for files to change: when the system tells of it, and every [pollEvery] in any case.
type wake struct {
	watcher *fsnotify.Watcher // nil where the system does not tell
	changed chan struct{}
	looked  time.Time
	renamed bool
	mu      sync.Mutex
}

func newWake(folders []string) *wake {
	w := &wake{changed: make(chan struct{}, 1)}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return w // there are only so many; polling does, too
	}
	w.watcher = watcher
	for _, folder := range folders {
		_ = watcher.Add(folder) // likewise
	}
	go w.listen()
	return w
}

func (w *wake) listen() {
	for {
		select {
		case event, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if !event.Has(fsnotify.Write) {
				w.mu.Lock()
				w.renamed = true
				w.mu.Unlock()
			}
		case _, ok := <-w.watcher.Errors: // an overflow: something has changed
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// due reports whether it is time to look which files there are.
func (w *wake) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.renamed && time.Since(w.looked) < pollEvery {
		return false
	}
	w.renamed, w.looked = false, time.Now()
	return true
}

// wait waits for a change, or until it is time to look, or stopped.
func (w *wake) wait(stopped <-chan struct{}) {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-w.changed:
	case <-timer.C:
	case <-stopped:
	}
}

func (w *wake) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}
