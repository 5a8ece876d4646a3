package feed

import (
	"context"
	"fmt"
	"os"
	"time"

	"iocpipe/sharedfile"
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
	if err := awaitLock(ctx, file, onWait); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil // which unlocks
}

func awaitLock(ctx context.Context, file *os.File, onWait func()) error {
	for {
		if ok, err := sharedfile.TryLock(file); ok || err != nil {
			return err
		}
		if onWait != nil {
			onWait()
			onWait = nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: another process holds the lock: %w", file.Name(), context.Cause(ctx))
		case <-time.After(lockEvery):
		}
	}
}
