//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package host

import (
	"os"
	"syscall"
)

// lockFolder waits until no other process opens a file in dir. A folder that cannot be locked is not: what it guards
// against is rare.
func lockFolder(dir string) (unlock func()) {
	folder, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for syscall.Flock(int(folder.Fd()), syscall.LOCK_EX) == syscall.EINTR {
	}
	return func() { _ = folder.Close() }
}
