package host

import (
	"os"
	"path/filepath"
	"sync"

	"iocpipe/sharedfile"
)

// lockFolder waits until no other process opens a file in dir. A folder that cannot be locked is not: what it guards
// against is rare.
func lockFolder(dir string) (unlock func()) {
	folder, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	_ = sharedfile.Lock(folder)
	return func() { _ = folder.Close() }
}

// Alone returns a function that reports whether this process is the only one of those that were told to share dir and
// cannot use it: it holds the lock of the folder, or of the nearest one above that is there, until its end. Where folders
// cannot be locked, each is alone.
func Alone(dir string) func() bool {
	var mu sync.Mutex
	var held *os.File
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		if held != nil {
			return true
		}
		folder, err := nearest(dir)
		if err != nil {
			return true
		}
		if free, err := sharedfile.TryLock(folder); err == nil && !free {
			_ = folder.Close() // it holds nothing
			return false
		}
		held = folder
		return true
	}
}

// nearest opens dir, or the nearest folder above that is there.
func nearest(dir string) (*os.File, error) {
	for {
		folder, err := os.Open(dir)
		if err == nil || dir == filepath.Dir(dir) {
			return folder, err
		}
		dir = filepath.Dir(dir)
	}
}
