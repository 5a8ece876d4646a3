//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package feed

import "context"

// lock does nothing where files cannot be locked.
func lock(context.Context, string, func()) (unlock func(), err error) { return func() {}, nil }
