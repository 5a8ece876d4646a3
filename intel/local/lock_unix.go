//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package local

import (
	"os"
	"syscall"
)

// lock waits until no other process, and nobody else in this one, holds the lock file at path. The file stays: to
// remove it would give two of them a lock of their own. The lock of a killed process is gone with it.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err {
		case nil:
			return func() { _ = f.Close() }, nil
		case syscall.EINTR:
		default:
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}
