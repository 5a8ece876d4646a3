//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package host

// lockFolder does nothing where folders cannot be locked.
func lockFolder(string) (unlock func()) { return func() {} }
