package main

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is the most that Linux gives a pipe without privileges (/proc/sys/fs/pipe-max-size).
const pipeSize = 1 << 20

// widenPipe lets w, if it is a pipe, hold more than the usual 64 KiB, so that a batch of blocks is not handed over in a
// thousand small pieces. It is for work that can be done again: what stands in a pipe is lost with its reader.
func widenPipe(w io.Writer) {
	if f, ok := w.(*os.File); ok {
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) }) // no pipe, or none so wide
		}
	}
}
