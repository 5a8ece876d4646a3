//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sharedfile

import (
	"errors"
	"os"
	"syscall"
)

// CanLock says whether this system has locks.
const CanLock = true

// Lock waits until nobody else holds the lock of the file or folder that f is, and takes it.
func Lock(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// TryLock takes the lock as [Lock] does; ok is false if somebody else holds it.
func TryLock(f *os.File) (ok bool, err error) {
	err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func flock(f *os.File, how int) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), how); err {
		case nil:
			return nil
		case syscall.EINTR:
		default:
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
