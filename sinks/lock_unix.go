//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sinks

import (
	"os"
	"syscall"
)

// lock waits until no other process has locked file. Where files cannot be locked, two processes may tell the same.
func lock(file *os.File) {
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX) == syscall.EINTR {
	}
}
