//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package feed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockEvery is how often a lock that another process holds is tried.
const lockEvery = 50 * time.Millisecond

// lock takes the lock of the file at path, which is made if it is not there, and waits for it until ctx is done.
// onWait, which may be nil, is called once if another process holds it.
func lock(ctx context.Context, path string, onWait func()) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil // which unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("%s: cannot be locked: %w", path, err)
		}
		if onWait != nil {
			onWait()
			onWait = nil
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("%s: another process holds the lock: %w", path, context.Cause(ctx))
		case <-time.After(lockEvery):
		}
	}
}
